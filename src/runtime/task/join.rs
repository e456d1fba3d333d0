//! The handle of a spawned task, and how a task can fail.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::cell::{Flag, Header, TaskRef};

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
        JoinHandle { task: task.clone_ref(), take: Header::take_result::<F>, result: PhantomData }
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

/// Why a task gave no result.
pub struct JoinError {
    cause: Cause,
}

enum Cause {
    Cancelled,
    /// The work was not started.
    Refused(io::Error),
    /// In a mutex only to make the error `Sync`; it is never locked.
    Panic(Mutex<Box<dyn Any + Send + 'static>>),
}

impl JoinError {
    pub(crate) fn cancelled() -> JoinError {
        JoinError { cause: Cause::Cancelled }
    }

    pub(crate) fn refused(error: io::Error) -> JoinError {
        JoinError { cause: Cause::Refused(error) }
    }

    pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> JoinError {
        JoinError { cause: Cause::Panic(Mutex::new(panic)) }
    }

    /// Whether the task was aborted, or its runtime ended.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }

    /// Whether the work was not started: its core has ended or has too much to start already, or
    /// there is no helper thread to be had. As an [`io::Error`] it is the reason.
    pub fn is_refused(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.cause {
            Cause::Panic(panic) => panic.into_inner().unwrap_or_else(|e| e.into_inner()),
            cause => panic!("the task did not panic: {}", JoinError { cause }),
        }
    }

    fn message(&self) -> Option<String> {
        match &self.cause {
            Cause::Panic(panic) => {
                let panic = panic.lock().unwrap_or_else(|e| e.into_inner());
                Some(panic_message(&**panic).to_owned())
            }
            Cause::Cancelled | Cause::Refused(_) => None,
        }
    }
}

/// The text that a panic was raised with.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "a value that is not text"
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.message()) {
            (Cause::Refused(error), _) => write!(f, "the work was not started: {error}"),
            (_, Some(message)) => write!(f, "the task panicked: {message}"),
            (_, None) => f.write_str("the task was cancelled"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        match error.cause {
            Cause::Refused(error) => error,
            _ => io::Error::other(error),
        }
    }
}
