//! Where an operation on a file runs: inline, on the ring, or on a helper thread.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::Submission;
use crate::op::{FileOp, Helped};
use crate::runtime::Core;

/// Runs the operation. With `inline` it is attempted first, by the core itself.
pub(crate) async fn run<O: FileOp>(core: &Rc<Core>, mut op: O, inline: bool) -> O::Output {
    if inline {
        // What never waits must not keep the others out either.
        poll_fn(|cx| match core.may_start() {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        match op.attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return op.finish(result),
        }
    }
    let on_ring = core.driver.borrow().takes(O::CODE);
    match on_ring {
        true => Submission::new(core.clone(), op).await,
        false => Helped::new(core.clone(), op).await,
    }
}
