//! The handle of a spawned task.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::cell::{Flag, Header, TaskRef};
use super::error::JoinError;
use super::typed::take_result;

/// Waits for a spawned task, or ends it.
///
/// Awaiting it gives what the task's future gave, or a [`JoinError`] if it panicked or was aborted.
/// Dropping it detaches the task, which goes on. It belongs to the core of its task and is not `Send`.
///
/// ```
/// let answer = ringpark::block_on(async {
///     let task = ringpark::spawn(async { 6 * 7 });
///     task.await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
pub struct JoinHandle<T> {
    task: TaskRef,
    take: unsafe fn(*const Header) -> Result<T, JoinError>,
    result: PhantomData<T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new<F: Future<Output = T>>(task: &TaskRef) -> JoinHandle<T> {
        task.header().flags.raise(Flag::Joined);
        JoinHandle { task: task.clone_ref(), take: take_result::<F>, result: PhantomData }
    }

    /// A waker of the task.
    pub(crate) fn waker(&self) -> Waker {
        self.task.waker()
    }

    /// Asks the task to end: its future is dropped at its next turn, and awaiting the handle gives a
    /// [`JoinError`] that [is cancelled](JoinError::is_cancelled). A task that is done stays so.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task is done, so that awaiting the handle would not wait.
    pub fn is_finished(&self) -> bool {
        self.task.header().flags.has(Flag::Done)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.task.header();
        if header.flags.has(Flag::Done) {
            // SAFETY: `take` was made for the future of this task, which is done, and whose result
            // belongs to this handle.
            return Poll::Ready(unsafe { (self.take)(self.task.as_ptr()) });
        }
        let joiner = match header.joiner.take() {
            Some(joiner) if joiner.will_wake(cx.waker()) => joiner,
            _ => cx.waker().clone(),
        };
        header.joiner.set(Some(joiner));
        Poll::Pending
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let header = self.task.header();
        header.flags.lower(Flag::Joined);
        drop(header.joiner.take());
        if header.flags.has(Flag::Done) {
            self.task.drop_result();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("spawned_at", &self.task.location())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
