//! Bytes that go out: one operation in flight, gone on with until all is written.

use std::io;
use std::net;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::error::{incomplete, write_zero, Closed};
use super::inbound::{Bytes, Chunk};
use super::turn::{perform, turn, Turn};
use super::Submission;
use crate::buf::IoBuf;
use crate::op::{Interest, KeepsOpen, Op, SendMsg, Shutdown};

/// What an operation that writes gives back: the count, the buffer, the turn.
type Written<B> = (io::Result<usize>, B, Turn<Chunk>);

/// Writes some of the buffer. `direct` makes the operation, from what follows a number of bytes, up
/// to a limit.
pub(crate) async fn write<B: IoBuf, O: Op<Output = Written<B>>>(
    handle: &Rc<Bytes>,
    buffer: B,
    direct: impl FnOnce(Turn<Chunk>, B, usize, usize) -> O,
) -> (io::Result<usize>, B) {
    let turn = match turn(handle, Interest::Writable).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), buffer),
    };
    let len = buffer.bytes_init();
    if len == 0 {
        return (Ok(0), buffer);
    }
    let limit = handle.core.driver.borrow_mut().clip(len);
    let op = direct(turn, buffer, 0, limit);
    let (result, buffer, _turn) = perform(handle, Interest::Writable, op).await;
    (result, buffer)
}

/// Writes all of the buffer, in one turn, so that no other write comes between.
pub(crate) async fn write_all<B: IoBuf, O: Op<Output = Written<B>>>(
    handle: &Rc<Bytes>,
    mut buffer: B,
    direct: impl Fn(Turn<Chunk>, B, usize, usize) -> O,
) -> (io::Result<()>, B) {
    let mut turn = match turn(handle, Interest::Writable).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), buffer),
    };
    let len = buffer.bytes_init();
    let mut written = 0;
    while written < len {
        let limit = handle.core.driver.borrow_mut().clip(len - written);
        let op = direct(turn, buffer, written, limit);
        let result;
        (result, buffer, turn) = perform(handle, Interest::Writable, op).await;
        match result {
            Ok(0) => return (Err(incomplete(written, write_zero())), buffer),
            Ok(count) => written += count,
            Err(error) => return (Err(incomplete(written, error)), buffer),
        }
    }
    (Ok(()), buffer)
}

/// Writes some of the buffers, in order.
pub(crate) async fn write_vectored<B: IoBuf>(
    handle: &Rc<Bytes>,
    buffers: Vec<B>,
) -> (io::Result<usize>, Vec<B>) {
    let turn = match turn(handle, Interest::Writable).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), buffers),
    };
    let len = total(&buffers);
    if len == 0 {
        return (Ok(0), buffers);
    }
    let limit = handle.core.driver.borrow_mut().clip(len);
    let op = SendMsg::new(turn, buffers, 0, limit, false);
    let (result, buffers, _turn) = perform(handle, Interest::Writable, op).await;
    (result, buffers)
}

/// Writes all of the buffers, in order and in one turn.
pub(crate) async fn write_vectored_all<B: IoBuf>(
    handle: &Rc<Bytes>,
    mut buffers: Vec<B>,
) -> (io::Result<()>, Vec<B>) {
    let mut turn = match turn(handle, Interest::Writable).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), buffers),
    };
    let len = total(&buffers);
    let mut written = 0;
    while written < len {
        let limit = handle.core.driver.borrow_mut().clip(len - written);
        let op = SendMsg::new(turn, buffers, written, limit, true);
        let result;
        (result, buffers, turn) = perform(handle, Interest::Writable, op).await;
        match result {
            Ok(0) => return (Err(incomplete(written, write_zero())), buffers),
            Ok(count) => written += count,
            Err(error) => return (Err(incomplete(written, error)), buffers),
        }
    }
    (Ok(()), buffers)
}

fn total<B: IoBuf>(buffers: &[B]) -> usize {
    buffers.iter().map(|buffer| buffer.bytes_init()).sum()
}

/// Shuts one or both halves down, whatever is under way.
pub(crate) async fn shutdown(handle: &Rc<Bytes>, how: net::Shutdown) -> io::Result<()> {
    if handle.is_closing() {
        return Err(Closed::error());
    }
    let keep = Keep(handle.clone());
    Submission::new(handle.core.clone(), Shutdown::new(keep, how)).await
}

/// Keeps a descriptor open for an operation that needs no turn.
struct Keep(Rc<Bytes>);

impl KeepsOpen for Keep {
    fn fd(&self) -> RawFd {
        self.0.fd()
    }
}
