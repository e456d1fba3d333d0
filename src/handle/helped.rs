//! A call that waits for a disk, made by a helper thread: where no ring does it.
//!
//! The thread is told where the memory is, and nothing else; the operation itself stays with the
//! future. One that is dropped while the thread works gives the operation to a task of its own, and
//! if there is no runtime for that any more, waits for the thread.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::task::{ready, Context, Poll};

use crate::op::Op;
use crate::runtime::blocking::{self, Blocking};
use crate::runtime::Core;

/// What a helper thread does.
pub(super) struct Work {
    result: Blocking<Option<io::Result<u32>>>,
    /// Set by whoever comes first: the thread, which begins, or the one who gives the work up.
    decided: Arc<AtomicBool>,
    /// Nobody has the other end when the thread is done.
    done: mpsc::Receiver<()>,
}

impl Work {
    /// Lets a helper thread make the operation's call. The operation must then be kept until the work
    /// has its result, or be given to [`abandon`].
    #[cold]
    pub(super) fn begin<O: Op>(op: &mut O) -> Box<Work> {
        let call = op.call();
        let decided = Arc::new(AtomicBool::new(false));
        let (working, done) = mpsc::channel::<()>();
        let mine = decided.clone();
        let result = blocking::run(move || {
            let _working = working;
            if mine.swap(true, Ordering::SeqCst) {
                return None;
            }
            // SAFETY: the operation is not let go of before this is over: `Submission` keeps it until
            // `poll` has said so, or else `abandon` does.
            Some(unsafe { call.make() })
        });
        Box::new(Work { result, decided, done })
    }

    /// The result, when the call is over. An error may be that no thread could be had.
    #[cold]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u32>> {
        let outcome = ready!(Pin::new(&mut self.result).poll(cx));
        Poll::Ready(outcome.and_then(|done| done.expect("nobody has given it up")))
    }
}

/// The future of the operation is gone.
pub(super) fn abandon<O: Op>(core: &Rc<Core>, op: O, work: Box<Work>) {
    if !work.decided.swap(true, Ordering::SeqCst) {
        // It had not begun, and does not any more.
        return;
    }
    let kept = Kept { op: Some(op), work };
    if core.shared.is_current() {
        drop(core.spawn(kept, Location::caller()));
    }
}

/// An operation that nobody waits for, until the thread is done with it.
struct Kept<O: Op> {
    op: Option<O>,
    work: Box<Work>,
}

impl<O: Op> Future for Kept<O> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let result = ready!(this.work.poll(cx));
        if let Some(op) = this.op.take() {
            op.discard(result);
        }
        Poll::Ready(())
    }
}

// The thread is told of addresses on the heap only (see `Op`), so the future itself may move.
impl<O: Op> Unpin for Kept<O> {}

impl<O: Op> Drop for Kept<O> {
    fn drop(&mut self) {
        if self.op.is_some() {
            // The sender goes with the closure, done or not.
            let _ = self.work.done.recv();
        }
    }
}
