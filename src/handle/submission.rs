//! The future of one kernel operation.
//!
//! ```text
//!            poll                    answered: EINTR, EAGAIN, or ready
//!   new ──────────▶ submitted / parked ─────────────────────────────▶ new
//!    │ │ done at once      │ │
//!    │ ▼                   │ └── dropped: the slot takes the data, and a cancel is sent
//!    │ output ◀────────────┘ answered
//!    │   ▲
//!    └───┴ helped ── dropped: a task of its own takes the data
//! ```
//! The driver says which of the three it is: submitted to the kernel, parked until the descriptor is
//! ready, or helped by a thread that waits for a disk.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::error::Refusal;
use super::helped::{abandon, Work};
use crate::completion::{Completion, Token};
use crate::driver::Started;
use crate::op::{Interest, Op};
use crate::runtime::Core;
use crate::sys::errno;

/// One operation, as a future. Dropping it asks the kernel to end the operation, whose data lives on
/// until the kernel has answered.
pub(crate) struct Submission<O: Op, C: OnCore = Rc<Core>> {
    place: C,
    op: Option<O>,
    stage: Stage,
}

/// How far it has come.
enum Stage {
    /// Not started, or to be started again: when the descriptor is ready, if the kernel said EAGAIN.
    New { again: bool },
    /// Submitted: the kernel works on it, and the completion is the result. Or parked: it waits for
    /// readiness, and is started again then. If it was asked to end, and why, it is not started again.
    InFlight { token: Token, parked: bool, cancelled: Option<Refusal> },
    /// A helper thread makes the call, and cannot be asked to end.
    Helped(Box<Work>),
}

// It is part of the state of every task that waits for its connection.
const _: () = assert!(size_of::<Stage>() <= 2 * size_of::<u64>());

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
        Submission { place, op: Some(op), stage: Stage::New { again: false } }
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

    /// The operation in flight, if it is and can be asked to end; and whether it was asked.
    pub(crate) fn in_flight(&self) -> (Option<Token>, bool) {
        match self.stage {
            Stage::InFlight { token, cancelled, .. } => (Some(token), cancelled.is_some()),
            Stage::New { .. } | Stage::Helped(_) => (None, false),
        }
    }

    /// Asks for the operation to end. Its answer still comes, and may be a success.
    pub(crate) fn cancel(&mut self, why: Refusal) {
        if let Stage::InFlight { token, cancelled: cancelled @ None, .. } = &mut self.stage {
            *cancelled = Some(why);
            self.place.core().driver.borrow_mut().cancel(*token);
        }
    }

    /// Goes on until the operation is answered. Before it is started, each time, `refusal` is asked
    /// whether it may be; and why it ended, if it was cancelled and this future does not know.
    pub(crate) fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        refusal: impl Fn() -> Option<Refusal>,
    ) -> Poll<O::Output> {
        let mut why = None;
        let result = loop {
            let (token, parked, cancelled) = match &mut self.stage {
                Stage::New { .. } => match refusal() {
                    Some(refusal) => break Err(refusal.into()),
                    None if !self.place.core().may_start() => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    None => match self.start() {
                        Some(result) => break result,
                        None => continue,
                    },
                },
                Stage::InFlight { token, parked, cancelled } => (*token, *parked, *cancelled),
                Stage::Helped(work) => {
                    let result = ready!(work.poll(cx));
                    self.stage = Stage::New { again: false };
                    break result;
                }
            };
            let op = self.op.as_ref().expect("an operation in flight has its data");
            let taken = self.place.core().driver.borrow_mut().take(token, cx.waker(), op);
            let Some(completion) = taken else {
                return Poll::Pending;
            };
            why = cancelled;
            let answer = answered(completion, parked);
            self.stage = Stage::New { again: answer == Answer::Wait };
            if answer == Answer::Final {
                break completion.into_result();
            }
            if cancelled.is_some() {
                break Err(io::Error::from_raw_os_error(errno::ECANCELED));
            }
        };
        let op = self.op.take().expect("an operation is polled until it is done");
        Poll::Ready(op.finish(match result {
            // The kernel has given it up, since it was asked to: the reason tells more.
            Err(error) if error.raw_os_error() == Some(errno::ECANCELED) => {
                Err(why.or_else(refusal).map_or(error, io::Error::from))
            }
            result => result,
        }))
    }

    /// Starts the operation; its result, if it was done at once.
    fn start(&mut self) -> Option<io::Result<u32>> {
        let op = self.op.as_mut().expect("an operation is polled until it is done");
        let mut driver = self.place.core().driver.borrow_mut();
        let again = matches!(self.stage, Stage::New { again: true });
        let started = match again.then(|| driver.park_after_again(op)) {
            Some(Some(parked)) => parked,
            _ => driver.start(op),
        };
        drop(driver);
        let (token, parked) = match started {
            Started::Done(result) => return Some(result),
            Started::Submitted(token) => (token, false),
            Started::Parked(token) => (token, true),
            Started::Helper => {
                self.stage = Stage::Helped(Work::begin(op));
                return None;
            }
        };
        self.stage = Stage::InFlight { token, parked, cancelled: None };
        None
    }

    /// A helper thread may be at work on it, and cannot be asked to end.
    #[cold]
    fn abandon(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::New { again: false });
        if let (Stage::Helped(work), Some(op)) = (stage, self.op.take()) {
            abandon(self.place.core(), op, work);
        }
    }
}

/// What a completion means for its operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is the result.
    Final,
    /// The operation is to be started again.
    Again,
    /// The same, and it is to wait for its descriptor before.
    Wait,
}

fn answered(completion: Completion, parked: bool) -> Answer {
    match -completion.result {
        // The kernel was interrupted, or the descriptor is non-blocking: nothing was done.
        errno::EINTR => Answer::Again,
        errno::EAGAIN => Answer::Wait,
        // Ready at last.
        ..=0 if parked => Answer::Again,
        _ => Answer::Final,
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
        let (token, parked) = match self.stage {
            Stage::New { .. } => return,
            Stage::InFlight { token, parked, .. } => (token, parked),
            Stage::Helped(_) => return self.abandon(),
        };
        if parked {
            return self.place.core().driver.borrow_mut().unpark(token);
        }
        let op = self.op.take().expect("an operation in flight has its data");
        let done = self.place.core().driver.borrow_mut().orphan(token, op);
        if let Some((op, completion)) = done {
            op.discard(completion.into_result());
        }
    }
}
