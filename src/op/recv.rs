//! `recv(2)`: bytes from a socket, into the caller's buffer or into the core's.

use std::io;

use super::entry::BUFFER_SELECT;
use super::{Code, Entry, HasPool, Interest, Keeps, Op, Question, Row, Stream, Waits};
use crate::buf::{IoBufMut, Lease};
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// Bytes from a socket; into a buffer of the core if it goes to a sink.
///
/// Tried by `dropped_reads_lose_nothing`.
pub(super) const ROW: Row = Row {
    stream: Some(Stream { entry: recv_piece, takes_buffers: true }),
    ..Row::new("recv", 27, "5.6")
};

/// Bytes from a socket into the core's buffers, until cancelled.
///
/// Tried by `recv_read_and_peek_mixed_keep_the_order`.
pub(super) const MULTISHOT: Row = Row {
    question: Question::Entry(|misfit| recv_multi(misfit.no_socket, 0)),
    stream: Some(Stream { entry: recv_multi, takes_buffers: true }),
    ..Row::new("recv-multishot", 27, "6.0")
};

/// The number under which the buffers for streams are registered.
pub(crate) const STREAM_GROUP: u16 = 0;

/// `IORING_RECV_MULTISHOT`
pub(super) const UNTIL_CANCELLED: u16 = 1 << 1;

/// Receives into the caller's buffer. `S` keeps the socket open.
pub(crate) struct Recv<S, B> {
    socket: S,
    buffer: B,
    /// How many bytes are asked for at most.
    limit: usize,
    flags: i32,
}

impl<S, B: IoBufMut> Recv<S, B> {
    pub(crate) fn new(socket: S, buffer: B) -> Recv<S, B> {
        Recv { socket, buffer, limit: usize::MAX, flags: 0 }
    }

    /// Looks at the bytes and leaves them where they are.
    pub(crate) fn peek(socket: S, buffer: B) -> Recv<S, B> {
        Recv { flags: abi::MSG_PEEK, ..Recv::new(socket, buffer) }
    }

    /// How many bytes are asked for.
    fn len(&self) -> usize {
        self.limit.min(self.buffer.bytes_total()).min(sys::TRANSFER_MAX)
    }

    /// Where the bytes go, and how many.
    fn room(&mut self) -> (*mut u8, usize) {
        let len = self.len();
        (self.buffer.stable_mut_ptr(), len)
    }
}

/// The entry that receives until it is cancelled, at most `cap` bytes before other connections have
/// their turn; 0 leaves that to the kernel, which must know the cap (6.17).
pub(crate) fn recv_multi(fd: RawFd, cap: u32) -> Entry {
    Entry { len: cap, ioprio: UNTIL_CANCELLED, ..recv_piece(fd, 0) }
}

/// The entry that receives once.
fn recv_piece(fd: RawFd, _cap: u32) -> Entry {
    Entry { flags: BUFFER_SELECT, buffer: STREAM_GROUP, ..ROW.entry(fd) }
}

/// Tells a buffer how many of its bytes the kernel has filled.
pub(super) fn filled<B: IoBufMut>(buffer: &mut B, result: &io::Result<u32>) {
    if let Ok(count) = *result {
        assert!(count as usize <= buffer.bytes_total(), "the kernel wrote past the buffer");
        // SAFETY: the kernel has written the first `count` bytes.
        unsafe { buffer.set_init(count as usize) };
    }
}

// SAFETY: the entry points to the buffer's memory, whose address `IoBufMut` promises to be stable.
unsafe impl<S: Keeps<Vec<u8>>, B: IoBufMut> Op for Recv<S, B> {
    /// How many bytes came, the buffer, and what keeps the descriptor open.
    type Output = (io::Result<usize>, B, S);
    const CODE: Code = Code::Recv;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        let (memory, len) = self.room();
        Some(Entry { op_flags: self.flags as u32, ..ROW.entry(self.fd()).memory(memory, len) })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let (memory, len) = self.room();
        // SAFETY: `IoBufMut` promises that this memory is valid.
        unsafe { sys::recv(self.fd(), memory, len, self.flags) }
    }

    fn exhausts(&self, result: u32) -> bool {
        // Fewer bytes than asked for: the socket is empty. The end of the stream is for ever.
        self.flags == 0 && result > 0 && (result as usize) < self.len()
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.limit = clip(self.len());
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        filled(&mut self.buffer, &result);
        (result.map(|count| count as usize), self.buffer, self.socket)
    }

    fn discard(mut self, result: io::Result<u32>) {
        if self.flags & abi::MSG_PEEK != 0 {
            return;
        }
        filled(&mut self.buffer, &result);
        match result {
            Ok(count) => self.socket.keep(Ok(self.buffer.as_slice()[..count as usize].to_vec())),
            Err(error) => self.socket.keep(Err(error)),
        }
    }
}

/// Receives into a buffer of the core, one attempt at a time: for backends whose kernel does not
/// choose the buffer itself. No buffer is held while it waits.
pub(crate) struct RecvPooled<S> {
    socket: S,
    lease: Option<Lease>,
    /// The last attempt filled the room that there was.
    full: bool,
}

impl<S> RecvPooled<S> {
    pub(crate) fn new(socket: S) -> RecvPooled<S> {
        RecvPooled { socket, lease: None, full: false }
    }
}

// SAFETY: there is no entry.
unsafe impl<S: Keeps<Vec<u8>> + HasPool> Op for RecvPooled<S> {
    /// The lease, an empty one at the end of the stream, `None` if there was no buffer; and what
    /// keeps the socket open.
    type Output = (io::Result<Option<Lease>>, S);
    const CODE: Code = Code::Recv;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let fd = self.fd();
        let Some(room) = self.socket.pool().room() else {
            return Ok(0);
        };
        // SAFETY: the room is valid for its length, and nobody else uses it until `fill`.
        let count = unsafe { sys::recv(fd, room.memory.as_ptr(), room.len, 0) }?;
        self.full = count as usize == room.len;
        // SAFETY: the kernel has written the first `count` bytes of the room.
        self.lease = Some(unsafe { self.socket.pool().fill(count) });
        Ok(count)
    }

    fn exhausts(&self, result: u32) -> bool {
        result > 0 && !self.full
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|_| self.lease), self.socket)
    }

    fn discard(self, result: io::Result<u32>) {
        match (result, &self.lease) {
            (Err(error), _) => self.socket.keep(Err(error)),
            (Ok(_), Some(lease)) => self.socket.keep(Ok(lease.to_vec())),
            (Ok(_), None) => {}
        }
    }
}
