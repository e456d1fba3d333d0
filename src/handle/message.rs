//! Messages: datagrams with their addresses, and bytes of a stream with descriptors beside them.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::chunk::{fill, Chunk, IoHandle};
use super::datagram::taken;
use super::error::{incomplete, write_zero};
use super::permit::{acquire, perform, Permit};
use super::recv::next_chunk;
use crate::buf::{IoBuf, IoBufMut};
use crate::op::{is_busy, Ancillary, Envelope, Interest, RecvMsg, Send, SendTo};
use crate::time::sleep;

/// How long to wait before a local socket whose queue was full is tried again: first, and at most.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// What receiving a message gives back: how many bytes, and what came with them; the buffer.
type MessageOutput<B> = (io::Result<(usize, Ancillary)>, B);

/// Receives a datagram into the buffer; what has no room there is lost.
pub(crate) async fn recv_datagram<B: IoBufMut>(
    handle: &Rc<IoHandle>,
    buffer: B,
) -> MessageOutput<B> {
    recv(handle, buffer, false).await
}

/// Receives bytes of a stream, with the descriptors that stand beside them.
pub(crate) async fn recv_beside<B: IoBufMut>(handle: &Rc<IoHandle>, buffer: B) -> MessageOutput<B> {
    if buffer.bytes_total() == 0 {
        return (Ok((0, Ancillary::default())), buffer);
    }
    recv(handle, buffer, true).await
}

async fn recv<B: IoBufMut>(
    handle: &Rc<IoHandle>,
    mut buffer: B,
    of_stream: bool,
) -> MessageOutput<B> {
    let permit = match acquire(handle, Interest::Readable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    match next_chunk(handle).await {
        Err(error) => (Err(error), buffer),
        Ok(Some(mut chunk)) => {
            if !of_stream && matches!(chunk, Chunk::Lease(_)) {
                let (lease, ancillary) = taken(chunk);
                let count = fill(&mut buffer, &lease);
                return (Ok((count, ancillary)), buffer);
            }
            let count = fill(&mut buffer, chunk.bytes());
            let ancillary = match &mut chunk {
                Chunk::Message(message) => std::mem::take(&mut message.ancillary),
                other => Ancillary { full_len: other.bytes().len(), ..Ancillary::default() },
            };
            if of_stream && count < chunk.bytes().len() {
                chunk.advance(count);
                handle.queue.put_back(chunk);
            }
            (Ok((count, ancillary)), buffer)
        }
        Ok(None) => {
            let op = if of_stream {
                RecvMsg::of_stream(permit, buffer)
            } else {
                RecvMsg::datagram(permit, buffer)
            };
            let (result, buffer, _permit) = perform(handle, Interest::Readable, op).await;
            (result, buffer)
        }
    }
}

/// Sends one message, whole.
pub(crate) async fn send<B: IoBuf>(
    handle: &Rc<IoHandle>,
    buffer: B,
    envelope: Envelope,
) -> (io::Result<usize>, B) {
    let permit = match acquire(handle, Interest::Writable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    let (result, buffer, _permit) = send_with_permit(handle, permit, buffer, envelope).await;
    (result, buffer)
}

/// Sends all of the buffer on a stream, with descriptors beside its first byte.
pub(crate) async fn send_beside<B: IoBuf>(
    handle: &Rc<IoHandle>,
    buffer: B,
    envelope: Envelope,
) -> (io::Result<()>, B) {
    let permit = match acquire(handle, Interest::Writable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    let len = buffer.bytes_init();
    if len == 0 {
        let what = "descriptors go beside bytes of a stream: send one byte at least";
        return (Err(io::Error::new(io::ErrorKind::InvalidInput, what)), buffer);
    }
    let (first, mut buffer, mut permit) = send_with_permit(handle, permit, buffer, envelope).await;
    let mut written = match first {
        Ok(count) => count,
        Err(error) => return (Err(error), buffer),
    };
    while written < len {
        let op = Send::all(permit, buffer, written);
        let result;
        (result, buffer, permit) = perform(handle, Interest::Writable, op).await;
        match result {
            Ok(0) => return (Err(incomplete(written, write_zero())), buffer),
            Ok(count) => written += count,
            Err(error) => return (Err(incomplete(written, error)), buffer),
        }
    }
    (Ok(()), buffer)
}

async fn send_with_permit<B: IoBuf>(
    handle: &Rc<IoHandle>,
    mut permit: Permit<Chunk>,
    mut buffer: B,
    mut envelope: Envelope,
) -> (io::Result<usize>, B, Permit<Chunk>) {
    let mut pause = Pause::new();
    loop {
        let op = SendTo::new(permit, buffer, envelope);
        let result;
        (result, buffer, envelope, permit) = perform(handle, Interest::Writable, op).await;
        match result {
            Err(error) if is_busy(&error) => pause.wait(handle).await,
            other => return (other, buffer, permit),
        }
    }
}

/// The waits of one who tries again until a local socket has room: the kernel tells nobody when it
/// has. They grow, so that one who waits for long costs little.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Pause {
        Pause(PAUSE_MIN)
    }

    /// Waits a moment, but not beyond the deadline for writing.
    pub(crate) async fn wait(&mut self, handle: &IoHandle) {
        let left = handle
            .deadline(Interest::Writable)
            .map(|at| at.saturating_duration_since(crate::timer::clock::now()));
        sleep(left.map_or(self.0, |left| left.min(self.0))).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}
