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
use crate::buf::IoBuf;
use crate::op::{Interest, KeepsOpen, Op, SendMsg, Shutdown};
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

/// Writes all of the buffer, with one permit, so that no other write comes between. `direct` makes the
/// operations, as in [`write`].
pub(crate) fn write_all<B, O, F>(
    handle: &Rc<IoHandle>,
    buffer: B,
    direct: F,
) -> WriteAll<'_, B, O, F>
where
    B: IoBuf,
    O: Op<Output = WriteOutput<B>>,
    F: Fn(Permit<Chunk>, B, usize) -> O,
{
    let len = buffer.bytes_init();
    write_len(handle, buffer, len, direct)
}

fn write_len<B, O, F>(
    handle: &Rc<IoHandle>,
    buffer: B,
    len: usize,
    direct: F,
) -> WriteAll<'_, B, O, F>
where
    O: Op<Output = WriteOutput<B>>,
    F: Fn(Permit<Chunk>, B, usize) -> O,
{
    let stage = Writing::Acquiring(acquire(handle, Interest::Writable), Some(buffer));
    WriteAll { direct, len, written: 0, stage }
}

/// The future of [`write_all`]. It is written out, like [`Perform`], since it is part of the state of
/// every task that relays or answers, and this way it is smallest.
pub(crate) struct WriteAll<'a, B, O: Op, F> {
    direct: F,
    len: usize,
    written: usize,
    stage: Writing<'a, B, O>,
}

enum Writing<'a, B, O: Op> {
    Acquiring(Acquire<'a, Chunk>, Option<B>),
    Performing(Perform<'a, Chunk, O>),
}

impl<B, O, F> Future for WriteAll<'_, B, O, F>
where
    O: Op<Output = WriteOutput<B>>,
    F: Fn(Permit<Chunk>, B, usize) -> O,
{
    type Output = (io::Result<()>, B);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WriteAll { direct, len, written, stage } = self.get_mut();
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
                        direct(permit, buffer, 0),
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
                    let rest = direct(permit, buffer, *written);
                    Writing::Performing(perform(handle, Interest::Writable, rest))
                }
            };
        }
    }
}

// The buffer is moved into its operation, as every buffer is; nothing of this is pinned.
impl<B, O: Op, F> Unpin for WriteAll<'_, B, O, F> {}

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
    let direct = |permit, buffers, start| SendMsg::new(permit, buffers, start, true);
    write_len(handle, buffers, len, direct).await
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
