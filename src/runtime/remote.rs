//! Work that is done elsewhere: on another core, or on a helper thread.
//!
//! # How a task gets to another core
//! The task is made by the thread that asks for it, complete but for its future, in whose place
//! stands the closure that makes it. The closure is `Send`, the future need not be. The task travels
//! through the inbox of its core like one that has been woken; the core takes it in when it drains
//! the inbox, and the closure is called by the first poll, on that core.
//!
//! ```text
//!   spawn_on: closure + Sender ─▶ newborn task ─▶ inbox ─▶ Core::take_in ─▶ poll: closure()
//!                                    │                                         │ poll, poll
//!                                    │ the core has ended, or is full          ▼
//!                                    ▼                                     Sender::send
//!                              closure dropped, Sender sends the error
//! ```

use std::fmt;
use std::future::{poll_fn, Future};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::context;
use super::core::Core;
use super::oneshot::{oneshot, Receiver, Sender};
use super::placement::CoreHandle;
use super::task::{JoinError, Origin, TaskRef};

/// Waits for work on another core or on a helper thread, or asks it to end.
///
/// It is `Send`: any task on any core may await it, and so may any executor; a thread without one
/// calls [`wait`](RemoteHandle::wait). It gives what the work gave, or a [`JoinError`] if it
/// panicked, was cancelled, or could not be started. Dropping the handle lets the work go on.
#[must_use = "the result is lost unless it is awaited"]
pub struct RemoteHandle<T> {
    receiver: Receiver<T>,
    /// Lets the work notice that it is to end, where it can.
    waker: Option<Waker>,
}

impl<T> RemoteHandle<T> {
    pub(super) fn new(receiver: Receiver<T>, waker: Option<Waker>) -> RemoteHandle<T> {
        RemoteHandle { receiver, waker }
    }

    /// Asks the work to end. A task on another core is dropped at its next turn, and a closure that
    /// waits for a helper thread is not called any more; one that runs goes on. If the work ends by
    /// this, awaiting the handle gives a [`JoinError`] that
    /// [is cancelled](JoinError::is_cancelled).
    pub fn abort(&self) {
        self.receiver.stop();
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether the result is there, so that awaiting the handle would not wait.
    pub fn is_finished(&self) -> bool {
        self.receiver.is_done()
    }

    /// Blocks this thread until the result is there: for threads that run no executor.
    ///
    /// # Errors
    /// As for awaiting the handle.
    ///
    /// # Panics
    /// Inside a runtime, whose core it would block.
    pub fn wait(self) -> Result<T, JoinError> {
        assert!(
            context::is_outside(),
            "RemoteHandle::wait would block a core: await the handle instead"
        );
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.receiver.poll(&mut cx) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// Ends a thread's sleep.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T> Future for RemoteHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll(cx)
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").field("is_finished", &self.is_finished()).finish()
    }
}

/// Starts a task on the given core, from any thread. See [`spawn_on`](super::spawn_on).
pub(super) fn spawn<F, Fut>(core: &CoreHandle, work: F, origin: Origin) -> RemoteHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    let (sender, receiver) = oneshot();
    let shared = core.shared();
    if shared.is_current() {
        let core = Core::current();
        let task = core.spawn_as(carry(work, sender), origin);
        return RemoteHandle::new(receiver, Some(task.waker()));
    }
    if let Err(error) = shared.admit() {
        sender.send(Err(JoinError::refused(error)));
        return RemoteHandle::new(receiver, None);
    }
    let task = TaskRef::new(carry(work, sender), shared.clone(), origin);
    let waker = task.waker();
    task.deliver();
    RemoteHandle::new(receiver, Some(waker))
}

/// The future of a task from elsewhere. Until it is first polled it holds nothing but the closure
/// and the sender, which are `Send`; `TaskRef::dismiss` relies on that.
async fn carry<F, Fut>(work: F, sender: Sender<Fut::Output>)
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let outcome =
        if sender.is_stopped() { Err(JoinError::cancelled()) } else { run(work, &sender).await };
    sender.send(outcome);
}

async fn run<F, Fut>(work: F, sender: &Sender<Fut::Output>) -> Result<Fut::Output, JoinError>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let future = catch_unwind(AssertUnwindSafe(work)).map_err(JoinError::panicked)?;
    let mut future = pin!(Some(future));
    let outcome = poll_fn(|cx| {
        if sender.is_stopped() {
            return Poll::Ready(Err(JoinError::cancelled()));
        }
        let running = future.as_mut().as_pin_mut().expect("it is dropped after this");
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(JoinError::panicked(panic))),
        }
    })
    .await;
    // Its end is part of the work: whoever awaits the handle may rely on it.
    catch_unwind(AssertUnwindSafe(|| future.set(None))).map_err(JoinError::panicked)?;
    outcome
}
