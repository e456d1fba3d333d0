//! `IORING_OP_ASYNC_CANCEL`: the wish that another operation end.
//!
//! It has no attempt form: without a ring nothing runs in the kernel that could be cancelled, and a
//! readiness backend ends a wait by itself. It may lose: the other operation then ends with its own
//! result, which nobody drops.

use super::{Entry, Row};
use crate::completion::Token;
use crate::sys::errno;

/// The wish that another operation end. (The question finds nothing to cancel.)
///
/// Tried by `a_submission_queue_of_two_loses_no_cancel`.
pub(super) const ROW: Row = Row::new("cancel", 14, "5.5");

/// The entry that cancels `target`.
pub(crate) fn cancel_sqe(target: Token) -> Entry {
    let entry = Entry { address: target.bits(), ..ROW.entry(-1) };
    entry.user_data(target.cancel().bits())
}

/// What the kernel said to a cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CancelAnswer {
    /// The operation was found: its own completion follows.
    Found,
    /// It is being executed: its own completion follows, perhaps late.
    Running,
    /// It was not found: its completion is on the way, or it was between two states.
    NotFound,
}

impl CancelAnswer {
    pub(crate) fn from_result(result: i32) -> CancelAnswer {
        match -result {
            errno::ENOENT => CancelAnswer::NotFound,
            errno::EALREADY => CancelAnswer::Running,
            _ => CancelAnswer::Found,
        }
    }
}
