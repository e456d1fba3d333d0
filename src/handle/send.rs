//! Sending the bytes of a stream: one operation in flight at a time, until all is written.

use std::future::Future;
use std::io;
use std::net;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::chunk::{Chunk, IoHandle};
use super::error::{incomplete, write_zero, Closed};
use super::permit::{acquire, perform, Acquire, Perform, Permit};
use super::submission::Submission;
use crate::buf::{BufResult, IoBuf};
use crate::op::{Interest, KeepsOpen, Mode, Op, Send, SendMsg, Shutdown, Write};
use crate::sys::fd::RawFd;

/// What an operation that writes gives back: the count, the buffer, the permit.
pub(crate) type WriteOutput<B> = (io::Result<usize>, B, Permit<Chunk>);

/// Writes some of the buffer. `direct` makes the operation, from what follows a number of bytes.
pub(crate) async fn write<B: IoBuf, O: Op<Output = WriteOutput<B>>>(
    handle: &Rc<IoHandle>,
    buffer: B,
    direct: impl FnOnce(Permit<Chunk>, B, usize) -> O,
) -> (io::Result<usize>, B) {
    let permit = match acquire(handle, Interest::Writable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    if buffer.bytes_init() == 0 {
        return (Ok(0), buffer);
    }
    let op = direct(permit, buffer, 0);
    let (result, buffer, _permit) = perform(handle, Interest::Writable, op).await;
    (result, buffer)
}

/// What a write is made of, as a type: what a closure makes could not be named in a struct.
pub(crate) trait Writes<B> {
    type Op: Op<Output = WriteOutput<B>>;

    /// The operation that writes what follows a number of bytes.
    fn rest(&self, permit: Permit<Chunk>, buffer: B, start: usize) -> Self::Op;
}

/// Writes to a socket.
pub(crate) struct ToSocket;

impl<B: IoBuf> Writes<B> for ToSocket {
    type Op = Send<Permit<Chunk>, B>;

    fn rest(&self, permit: Permit<Chunk>, buffer: B, start: usize) -> Self::Op {
        Send::all(permit, buffer, start)
    }
}

/// Writes to a descriptor of any kind.
pub(crate) struct ToDescriptor(pub(crate) Mode);

impl<B: IoBuf> Writes<B> for ToDescriptor {
    type Op = Write<Permit<Chunk>, B>;

    fn rest(&self, permit: Permit<Chunk>, buffer: B, start: usize) -> Self::Op {
        Write::new(permit, buffer, start, self.0)
    }
}

/// Writes several buffers to a socket.
struct Gathered;

impl<B: IoBuf> Writes<Vec<B>> for Gathered {
    type Op = SendMsg<Permit<Chunk>, B>;

    fn rest(&self, permit: Permit<Chunk>, buffers: Vec<B>, start: usize) -> Self::Op {
        SendMsg::new(permit, buffers, start, true)
    }
}

/// Writes all of the buffer, with one permit, so that no other write comes between.
pub(crate) fn write_all<B: IoBuf, W: Writes<B>>(
    handle: &Rc<IoHandle>,
    buffer: B,
    writes: W,
) -> WriteAll<'_, B, W> {
    let len = buffer.bytes_init();
    write_len(handle, buffer, len, writes)
}

fn write_len<B, W: Writes<B>>(
    handle: &Rc<IoHandle>,
    buffer: B,
    len: usize,
    writes: W,
) -> WriteAll<'_, B, W> {
    let stage = Writing::Acquiring(acquire(handle, Interest::Writable), Some(buffer));
    WriteAll { writes, len, written: 0, stage }
}

/// The future of [`write_all`]. It is written out, like [`Perform`], since it is part of the state of
/// every task that relays or answers, and this way it is smallest.
pub(crate) struct WriteAll<'a, B, W: Writes<B>> {
    writes: W,
    len: usize,
    written: usize,
    stage: Writing<'a, B, W::Op>,
}

enum Writing<'a, B, O: Op> {
    Acquiring(Acquire<'a, Chunk>, Option<B>),
    Performing(Perform<'a, Chunk, O>),
}

impl<B, W: Writes<B>> Future for WriteAll<'_, B, W> {
    type Output = BufResult<(), B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WriteAll { writes, len, written, stage } = self.get_mut();
        loop {
            *stage = match stage {
                Writing::Acquiring(wait, buffer) => {
                    let handle = wait.handle();
                    let permit = ready!(Pin::new(wait).poll(cx));
                    let buffer = buffer.take().expect("a write is polled until it is done");
                    let permit = match permit {
                        Ok(permit) => permit,
                        Err(error) => return Poll::Ready((Err(error), buffer)),
                    };
                    if *len == 0 {
                        return Poll::Ready((Ok(()), buffer));
                    }
                    Writing::Performing(perform(
                        handle,
                        Interest::Writable,
                        writes.rest(permit, buffer, 0),
                    ))
                }
                Writing::Performing(op) => {
                    let handle = op.handle();
                    let (result, buffer, permit) = ready!(Pin::new(op).poll(cx));
                    match result {
                        Ok(0) => {
                            return Poll::Ready((Err(incomplete(*written, write_zero())), buffer));
                        }
                        Ok(count) => *written += count,
                        Err(error) => {
                            return Poll::Ready((Err(incomplete(*written, error)), buffer));
                        }
                    }
                    if *written >= *len {
                        return Poll::Ready((Ok(()), buffer));
                    }
                    let rest = writes.rest(permit, buffer, *written);
                    Writing::Performing(perform(handle, Interest::Writable, rest))
                }
            };
        }
    }
}

// The buffer is moved into its operation, as every buffer is; nothing of this is pinned.
impl<B, W: Writes<B>> Unpin for WriteAll<'_, B, W> {}

/// Writes some of the buffers, in order.
pub(crate) async fn write_vectored<B: IoBuf>(
    handle: &Rc<IoHandle>,
    buffers: Vec<B>,
) -> (io::Result<usize>, Vec<B>) {
    let permit = match acquire(handle, Interest::Writable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffers),
    };
    if total(&buffers) == 0 {
        return (Ok(0), buffers);
    }
    let op = SendMsg::new(permit, buffers, 0, false);
    let (result, buffers, _permit) = perform(handle, Interest::Writable, op).await;
    (result, buffers)
}

/// Writes all of the buffers, in order and with one permit.
pub(crate) async fn write_vectored_all<B: IoBuf>(
    handle: &Rc<IoHandle>,
    buffers: Vec<B>,
) -> (io::Result<()>, Vec<B>) {
    let len = total(&buffers);
    write_len(handle, buffers, len, Gathered).await
}

fn total<B: IoBuf>(buffers: &[B]) -> usize {
    buffers.iter().map(|buffer| buffer.bytes_init()).sum()
}

/// Shuts one or both halves down, whatever is under way.
pub(crate) fn shutdown(handle: &Rc<IoHandle>, how: net::Shutdown) -> io::Result<ShuttingDown> {
    if handle.is_closing() {
        return Err(Closed::error());
    }
    let keep = Keep(handle.clone());
    Ok(Submission::new(handle.core.clone(), Shutdown::new(keep, how)))
}

/// The future of [`shutdown`].
pub(crate) type ShuttingDown = Submission<Shutdown<Keep>>;

/// Keeps a descriptor open for an operation that needs no permit.
pub(crate) struct Keep(Rc<IoHandle>);

impl KeepsOpen for Keep {
    fn fd(&self) -> RawFd {
        self.0.fd()
    }
}
