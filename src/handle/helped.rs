//! An operation on a file, done by a helper thread: where there is no ring.
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
use std::task::{Context, Poll};

use crate::op::FileOp;
use crate::runtime::blocking::{self, Blocking};
use crate::runtime::Core;

/// The future of such an operation.
pub(crate) struct Helped<O: FileOp> {
    core: Rc<Core>,
    op: Option<O>,
    work: Option<Work>,
    /// It is a task of its own already.
    kept: bool,
}

/// What a helper thread does.
struct Work {
    result: Blocking<Option<io::Result<u32>>>,
    /// Set by whoever comes first: the thread, which begins, or the one who gives the work up.
    decided: Arc<AtomicBool>,
    /// Nobody has the other end when the thread is done.
    done: mpsc::Receiver<()>,
}

impl<O: FileOp> Helped<O> {
    pub(crate) fn new(core: Rc<Core>, op: O) -> Helped<O> {
        Helped { core, op: Some(op), work: None, kept: false }
    }

    fn begin(op: &mut O) -> Work {
        let transfer = op.transfer();
        let decided = Arc::new(AtomicBool::new(false));
        let (working, done) = mpsc::channel::<()>();
        let mine = decided.clone();
        let result = blocking::run(move || {
            let _working = working;
            if mine.swap(true, Ordering::SeqCst) {
                return None;
            }
            // SAFETY: the operation, which owns what is described, is not let go of before `done`
            // says that this is over: see `drop` and `poll`.
            Some(unsafe { transfer.run() })
        });
        Work { result, decided, done }
    }
}

impl<O: FileOp> Future for Helped<O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let Helped { op, work, .. } = self.get_mut();
        let operation = op.as_mut().expect("an operation is polled until it is done");
        let running = work.get_or_insert_with(|| Helped::begin(operation));
        let Poll::Ready(outcome) = Pin::new(&mut running.result).poll(cx) else {
            return Poll::Pending;
        };
        *work = None;
        // An error is that no thread could be had.
        let result = outcome.and_then(|done| done.expect("nobody has given it up"));
        Poll::Ready(op.take().expect("it is here").finish(result))
    }
}

// The thread is told of addresses on the heap only (see `FileOp`), so the future itself may move.
impl<O: FileOp> Unpin for Helped<O> {}

impl<O: FileOp> Drop for Helped<O> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        if !work.decided.swap(true, Ordering::SeqCst) {
            // It had not begun, and does not any more.
            return;
        }
        if self.kept || !self.core.shared.is_current() {
            // The sender goes with the closure, done or not.
            let _ = work.done.recv();
            return;
        }
        let (core, op) = (self.core.clone(), self.op.take());
        let kept = Helped { core, op, work: Some(work), kept: true };
        drop(self.core.spawn(async move { drop(kept.await) }, Location::caller()));
    }
}
