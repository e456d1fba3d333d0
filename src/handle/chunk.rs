//! What a handle has received and nobody has read yet: the items of its receive queue.

use std::io;

use super::handle::Handle;
use super::permit::Permit;
use crate::buf::{IoBufMut, Lease, Pool};
use crate::op::{HasPool, Keeps, Message};
use crate::sys::errno;

/// What was received and not read yet.
pub(crate) enum Chunk {
    /// Bytes of a stream, none at all at its end; or a datagram, as the kernel has written it into
    /// the buffer: see `split_datagram`.
    Lease(Lease),
    /// A message that came for a receive whose future was dropped.
    Message(Box<Message>),
}

/// A handle whose receive queue holds bytes.
pub(crate) type IoHandle = Handle<Chunk>;

// What an idle connection costs is a promise: the room for one chunk is part of its handle.
const _: () = assert!(size_of::<Option<io::Result<Chunk>>>() <= 24);
const _: () = assert!(size_of::<IoHandle>() <= 112);

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Lease(lease) => lease,
            Chunk::Message(message) => &message.bytes,
        }
    }

    pub(super) fn into_lease(self) -> Lease {
        match self {
            Chunk::Lease(lease) => lease,
            Chunk::Message(message) => Lease::from_vec(message.bytes),
        }
    }

    pub(super) fn advance(&mut self, count: usize) {
        match self {
            Chunk::Lease(lease) => lease.advance(count),
            Chunk::Message(message) => drop(message.bytes.drain(..count)),
        }
    }
}

/// Copies as much as there is room for to the front of a buffer.
pub(super) fn fill<B: IoBufMut>(buffer: &mut B, bytes: &[u8]) -> usize {
    let count = bytes.len().min(buffer.bytes_total());
    crate::buf::write_front(buffer, &bytes[..count]);
    count
}

/// An error that tells of the attempt, and nothing of the stream.
pub(super) fn says_nothing(errno: i32) -> bool {
    matches!(errno, errno::ECANCELED | errno::EINTR | errno::EAGAIN)
}

impl Keeps<Chunk> for Permit<Chunk> {
    fn keep(&self, received: io::Result<Chunk>) {
        let errno = received.as_ref().err().and_then(io::Error::raw_os_error);
        if !errno.is_some_and(says_nothing) {
            self.handle().queue.push(received);
        }
    }
}

impl HasPool for Permit<Chunk> {
    fn pool(&self) -> &Pool {
        &self.handle().core.pool
    }
}

impl Keeps<Vec<u8>> for Permit<Chunk> {
    fn keep(&self, received: io::Result<Vec<u8>>) {
        // The end of the stream is found again by the next read.
        if !received.as_ref().is_ok_and(Vec::is_empty) {
            self.keep(received.map(|bytes| Chunk::Lease(Lease::from_vec(bytes))));
        }
    }
}

impl Keeps<Message> for Permit<Chunk> {
    fn keep(&self, received: io::Result<Message>) {
        self.keep(received.map(|message| Chunk::Message(Box::new(message))));
    }
}
