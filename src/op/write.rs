//! `write(2)`: bytes to any descriptor.

use std::io;

use super::read::OWN_POSITION;
use super::{Call, Code, Entry, Interest, KeepsOpen, Mode, Op, Row, Waits};
use crate::buf::IoBuf;
use crate::sys::abi;
use crate::sys::fd::RawFd;
use crate::sys::{self, Memory, Transfer};

/// Bytes to any descriptor.
///
/// Tried by `a_write_to_a_full_pipe_waits_for_its_reader`.
pub(super) const ROW: Row = Row::new("write", 23, "5.6");

/// Writes at the descriptor's own position. `S` keeps it open.
pub(crate) struct Write<S, B> {
    descriptor: S,
    buffer: B,
    /// Where in the buffer to begin.
    start: usize,
    /// How many bytes to write at most.
    limit: usize,
    mode: Mode,
}

impl<S, B: IoBuf> Write<S, B> {
    /// Writes what follows the first `start` bytes.
    pub(crate) fn new(descriptor: S, buffer: B, start: usize, mode: Mode) -> Write<S, B> {
        let limit = (buffer.bytes_init() - start).min(sys::TRANSFER_MAX);
        Write { descriptor, buffer, start, limit, mode }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer.as_slice()[self.start..][..self.limit]
    }
}

// SAFETY: entry and call point to the buffer's memory, whose address `IoBuf` promises to be stable.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for Write<S, B> {
    /// How many bytes went out, the buffer, and what keeps the descriptor open.
    type Output = (io::Result<usize>, B, S);
    const CODE: Code = Code::Write;

    fn fd(&self) -> RawFd {
        self.descriptor.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        self.mode.waits()
    }

    fn sqe(&mut self) -> Option<Entry> {
        let bytes = self.bytes();
        let entry = ROW.entry(self.fd()).memory(bytes.as_ptr(), bytes.len());
        Some(Entry { offset: OWN_POSITION, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        if self.mode == Mode::Disk {
            // A write may always wait for the disk.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (fd, bytes) = (self.fd(), self.bytes());
        sys::non_blocking(fd, self.mode == Mode::Nonblocking, || sys::write(fd, bytes))
    }

    fn call(&mut self) -> Call {
        let (fd, bytes) = (self.fd(), self.bytes());
        let memory = bytes.as_ptr().cast_mut().cast();
        let memory = Memory::One(abi::iovec { iov_base: memory, iov_len: bytes.len() });
        Call::transfer(Transfer { fd, memory, at: None, write: true })
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.limit = clip(self.limit);
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffer, self.descriptor)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
