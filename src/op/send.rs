//! `send(2)`: bytes to a socket.

use std::io;

use super::{Code, Entry, Interest, KeepsOpen, Op, Row, Waits};
use crate::buf::IoBuf;
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// Bytes to a socket.
///
/// Tried by `bytes_written_before_close_arrive`.
pub(super) const ROW: Row = Row::new("send", 26, "5.6");

/// Sends from the caller's buffer. `S` keeps the socket open.
pub(crate) struct Send<S, B> {
    socket: S,
    buffer: B,
    /// Where in the buffer to begin.
    start: usize,
    /// How many bytes to send at most.
    limit: u32,
    flags: i32,
}

impl<S, B: IoBuf> Send<S, B> {
    /// Sends as much as there is room for, of what follows the first `start` bytes.
    pub(crate) fn some(socket: S, buffer: B, start: usize) -> Send<S, B> {
        Send::new(socket, buffer, start, abi::MSG_NOSIGNAL)
    }

    /// The same, but the ring goes on by itself where the socket takes a part only, so that there is
    /// one completion. A result may be short all the same.
    pub(crate) fn all(socket: S, buffer: B, start: usize) -> Send<S, B> {
        Send::new(socket, buffer, start, abi::MSG_NOSIGNAL | abi::MSG_WAITALL)
    }

    pub(super) fn flags(&self) -> i32 {
        self.flags
    }

    pub(super) fn buffer(&self) -> &B {
        &self.buffer
    }

    fn new(socket: S, buffer: B, start: usize, flags: i32) -> Send<S, B> {
        let limit = (buffer.bytes_init() - start).min(sys::TRANSFER_MAX) as u32;
        Send { socket, buffer, start, limit, flags }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer.as_slice()[self.start..][..self.limit as usize]
    }
}

// SAFETY: the entry points to the buffer's memory, whose address `IoBuf` promises to be stable.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for Send<S, B> {
    /// How many bytes went out, the buffer, and what keeps the socket open.
    type Output = (io::Result<usize>, B, S);
    const CODE: Code = Code::Send;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        let bytes = self.bytes();
        let entry = ROW.entry(self.fd()).memory(bytes.as_ptr(), bytes.len());
        Some(Entry { op_flags: self.flags as u32, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        sys::send(self.fd(), self.bytes())
    }

    fn exhausts(&self, result: u32) -> bool {
        result < self.limit
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.limit = clip(self.limit as usize) as u32;
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffer, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
