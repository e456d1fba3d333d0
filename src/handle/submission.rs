//! The future of one kernel operation.
//!
//! ```text
//!            poll                    answered: EINTR, EAGAIN, or ready
//!   new ──────────▶ submitted / parked ─────────────────────────────▶ new
//!    │ done at once        │ │
//!    ▼                     │ └── dropped: the slot takes the data, and a cancel is sent
//!  output ◀────────────────┘ answered
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::Refusal;
use crate::completion::{Completion, Token};
use crate::driver::Started;
use crate::op::{Interest, Op};
use crate::runtime::Core;

/// One operation, as a future. Dropping it asks the kernel to end the operation, whose data lives on
/// until the kernel has answered.
pub(crate) struct Submission<O: Op, C: OnCore = Rc<Core>> {
    place: C,
    op: Option<O>,
    /// The operation in flight. It is a new one without, not started or to be started again.
    token: Option<Token>,
    /// It waits for readiness, and is started again then. Otherwise the kernel works on it, and the
    /// completion is the result.
    parked: bool,
    /// Why the operation was asked to end, if it was: it is not started again.
    cancelled: Option<Refusal>,
    /// The kernel said EAGAIN: it is started again when the descriptor is ready.
    again: bool,
}

/// What lives on a core, and knows it.
pub(crate) trait OnCore {
    fn core(&self) -> &Rc<Core>;
}

impl OnCore for Rc<Core> {
    fn core(&self) -> &Rc<Core> {
        self
    }
}

impl<O: Op, C: OnCore> Submission<O, C> {
    /// An operation on the core of `place`.
    pub(crate) fn new(place: C, op: O) -> Submission<O, C> {
        let (token, parked, cancelled, again) = (None, false, None, false);
        Submission { place, op: Some(op), token, parked, cancelled, again }
    }

    pub(crate) fn place(&self) -> &C {
        &self.place
    }

    /// What the operation waits for, where it waits.
    ///
    /// # Panics
    /// If it is done.
    pub(crate) fn interest(&self) -> Interest {
        self.op.as_ref().expect("an operation is polled until it is done").interest()
    }

    /// The operation in flight, if it is.
    pub(crate) fn token(&self) -> Option<Token> {
        self.token
    }

    /// Whether it was asked to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Asks for the operation to end. Its answer still comes, and may be a success.
    pub(crate) fn cancel(&mut self, why: Refusal) {
        if let (Some(token), None) = (self.token, self.cancelled) {
            self.cancelled = Some(why);
            self.place.core().driver.borrow_mut().cancel(token);
        }
    }

    /// Goes on until the operation is answered. Before it is started, each time, `refusal` is asked
    /// whether it may be; and why it ended, if it was cancelled and this future does not know.
    pub(crate) fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        refusal: impl Fn() -> Option<Refusal>,
    ) -> Poll<O::Output> {
        let result = loop {
            let Some(token) = self.token else {
                match refusal() {
                    Some(refusal) => break Err(refusal.into()),
                    None if !self.place.core().may_start() => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    None => match self.start() {
                        Some(result) => break result,
                        None => continue,
                    },
                }
            };
            let op = self.op.as_ref().expect("an operation in flight has its data");
            let taken = self.place.core().driver.borrow_mut().take(token, cx.waker(), op);
            let Some(completion) = taken else {
                return Poll::Pending;
            };
            self.token = None;
            if let Some(result) = self.answered(completion) {
                break result;
            }
        };
        let op = self.op.take().expect("an operation is polled until it is done");
        Poll::Ready(op.finish(match result {
            // The kernel has given it up, since it was asked to: the reason tells more.
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                Err(self.cancelled.or_else(refusal).map_or(error, io::Error::from))
            }
            result => result,
        }))
    }

    /// Starts the operation; its result, if it was done at once.
    fn start(&mut self) -> Option<io::Result<u32>> {
        let op = self.op.as_mut().expect("an operation is polled until it is done");
        let mut driver = self.place.core().driver.borrow_mut();
        let started = match std::mem::take(&mut self.again).then(|| driver.park_after_again(op)) {
            Some(Some(parked)) => parked,
            _ => driver.start(op),
        };
        drop(driver);
        match started {
            Started::Done(result) => return Some(result),
            Started::Submitted(token) => (self.token, self.parked) = (Some(token), false),
            Started::Parked(token) => (self.token, self.parked) = (Some(token), true),
        }
        None
    }

    /// The result, unless the operation is to be started again.
    fn answered(&mut self, completion: Completion) -> Option<io::Result<u32>> {
        let again = match -completion.result {
            // The kernel was interrupted, or the descriptor is non-blocking: nothing was done.
            libc::EINTR => true,
            libc::EAGAIN => {
                self.again = true;
                true
            }
            // Ready at last.
            _ => self.parked && completion.result >= 0,
        };
        match (again, self.is_cancelled()) {
            (false, _) => Some(completion.into_result()),
            (true, false) => None,
            (true, true) => Some(Err(io::Error::from_raw_os_error(libc::ECANCELED))),
        }
    }
}

impl<O: Op, C: OnCore> Future for Submission<O, C> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        self.get_mut().poll_with(cx, || None)
    }
}

// The kernel is told of addresses on the heap only (see `Op`), so the future itself may move.
impl<O: Op, C: OnCore> Unpin for Submission<O, C> {}

impl<O: Op, C: OnCore> Drop for Submission<O, C> {
    fn drop(&mut self) {
        let Some(token) = self.token else { return };
        if self.parked {
            return self.place.core().driver.borrow_mut().unpark(token);
        }
        let op = self.op.take().expect("an operation in flight has its data");
        let done = self.place.core().driver.borrow_mut().orphan(token, op);
        if let Some((op, completion)) = done {
            op.discard(completion.into_result());
        }
    }
}
