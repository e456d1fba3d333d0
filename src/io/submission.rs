//! The future of one kernel operation.
//!
//! ```text
//!            poll                    answered: EINTR, EAGAIN, or ready
//!   New ──────────▶ Submitted / Parked ─────────────────────────────▶ New
//!    │ done at once        │ │
//!    ▼                     │ └── dropped: the slot takes the data, and a cancel is sent
//!  output ◀────────────────┘ answered
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::driver::{Completion, Started, Token};
use crate::op::Op;
use crate::runtime::Core;

enum Stage {
    New,
    /// The kernel works on it: the completion is the result.
    Submitted(Token),
    /// It waits for readiness, and is started again then.
    Parked(Token),
}

/// One operation, as a future. Dropping it asks the kernel to end the operation, whose data lives on
/// until the kernel has answered.
pub(crate) struct Submission<O: Op> {
    core: Rc<Core>,
    op: Option<O>,
    stage: Stage,
    /// The operation was asked to end: it is not started again.
    cancelled: bool,
    /// The kernel said EAGAIN: it is started again when the descriptor is ready.
    again: bool,
}

impl<O: Op> Submission<O> {
    pub(crate) fn new(core: Rc<Core>, op: O) -> Submission<O> {
        Submission { core, op: Some(op), stage: Stage::New, cancelled: false, again: false }
    }

    /// The operation in flight, if it is.
    pub(crate) fn token(&self) -> Option<Token> {
        match self.stage {
            Stage::New => None,
            Stage::Submitted(token) | Stage::Parked(token) => Some(token),
        }
    }

    /// Asks for the operation to end. Its answer still comes, and may be a success.
    pub(crate) fn cancel(&mut self) {
        if let (Some(token), false) = (self.token(), self.cancelled) {
            self.cancelled = true;
            self.core.driver.borrow_mut().cancel(token);
        }
    }

    /// Goes on until the operation is answered. Before it is started, each time, `refusal` is asked
    /// whether it may be.
    pub(crate) fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        refusal: impl Fn() -> Option<io::Error>,
    ) -> Poll<Result<O::Output, Cancelled<O>>> {
        let result = loop {
            let (token, parked) = match self.stage {
                Stage::New => match refusal() {
                    Some(error) => break Err(error),
                    None if !self.core.may_start() => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    None => match self.start() {
                        Some(result) => break result,
                        None => continue,
                    },
                },
                Stage::Submitted(token) => (token, false),
                Stage::Parked(token) => (token, true),
            };
            let taken = self.core.driver.borrow_mut().slots.take(token, cx.waker());
            let Some(completion) = taken else {
                return Poll::Pending;
            };
            self.stage = Stage::New;
            if let Some(result) = self.answered(completion, parked) {
                break result;
            }
        };
        let op = self.op.take().expect("an operation is polled until it is done");
        Poll::Ready(match result {
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                Err(Cancelled(op, error))
            }
            result => Ok(op.finish(result)),
        })
    }

    /// Starts the operation; its result, if it was done at once.
    fn start(&mut self) -> Option<io::Result<u32>> {
        let op = self.op.as_mut().expect("an operation is polled until it is done");
        let mut driver = self.core.driver.borrow_mut();
        let started = match std::mem::take(&mut self.again).then(|| driver.park_after_again(op)) {
            Some(Some(parked)) => parked,
            _ => driver.start(op),
        };
        drop(driver);
        match started {
            Started::Done(result) => return Some(result),
            Started::Submitted(token) => self.stage = Stage::Submitted(token),
            Started::Parked(token) => self.stage = Stage::Parked(token),
        }
        None
    }

    /// The result, unless the operation is to be started again.
    fn answered(&mut self, completion: Completion, parked: bool) -> Option<io::Result<u32>> {
        let again = match -completion.result {
            // The kernel was interrupted, or the descriptor is non-blocking: nothing was done.
            libc::EINTR => true,
            libc::EAGAIN => {
                self.again = true;
                true
            }
            // Ready at last.
            _ => parked && completion.result >= 0,
        };
        match (again, self.cancelled) {
            (false, _) => Some(completion.into_result()),
            (true, false) => None,
            (true, true) => Some(Err(io::Error::from_raw_os_error(libc::ECANCELED))),
        }
    }
}

/// An operation that the kernel has given up because it was asked to, and the kernel's error.
pub(crate) struct Cancelled<O>(O, io::Error);

impl<O: Op> Cancelled<O> {
    /// What the operation yields, with the reason why it was asked to end, if that is known.
    pub(crate) fn finish(self, reason: Option<io::Error>) -> O::Output {
        let Cancelled(op, error) = self;
        op.finish(Err(reason.unwrap_or(error)))
    }
}

impl<O: Op> Future for Submission<O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let polled = self.get_mut().poll_with(cx, || None);
        polled.map(|result| result.unwrap_or_else(|cancelled| cancelled.finish(None)))
    }
}

// The kernel is told of addresses on the heap only (see `Op`), so the future itself may move.
impl<O: Op> Unpin for Submission<O> {}

impl<O: Op> Drop for Submission<O> {
    fn drop(&mut self) {
        match self.stage {
            Stage::New => {}
            Stage::Parked(token) => self.core.driver.borrow_mut().unpark(token),
            Stage::Submitted(token) => {
                let op = self.op.take().expect("an operation in flight has its data");
                let done = self.core.driver.borrow_mut().orphan(token, op);
                if let Some((op, completion)) = done {
                    op.discard(completion.into_result());
                }
            }
        }
    }
}
