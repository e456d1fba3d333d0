//! Where an operation on a file runs: inline, on the ring, or on a helper thread; and reading on until
//! a buffer is full.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::helped::Helped;
use super::submission::Submission;
use crate::buf::{IoBufMut, Slice};
use crate::op::FileOp;
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

/// Fills the buffer's room with `read`, which is told how many bytes are there already.
pub(crate) async fn read_exact<B: IoBufMut>(
    mut buffer: B,
    read: impl AsyncFn(Slice<B>, usize) -> (io::Result<usize>, Slice<B>),
) -> (io::Result<()>, B) {
    let total = buffer.bytes_total();
    let mut filled = 0;
    while filled < total {
        let (result, rest) = read(buffer.slice(filled..total), filled).await;
        buffer = rest.into_inner();
        match result {
            Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buffer),
            Ok(count) => filled += count,
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}
