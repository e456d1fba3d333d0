//! `preadv(2)` and `pwritev(2)`: bytes of a file, at a position.
//!
//! Files are never ready: who waits for one waits for a disk. `attempt` reads what is in memory
//! already.

use std::io;

use super::recv::filled;
use super::{read, write, Call, Code, Entry, Interest, KeepsOpen, Op, Row, Waits};
use crate::buf::{IoBuf, IoBufMut};
use crate::sys::abi;
use crate::sys::fd::RawFd;
use crate::sys::{self, Memory, Transfer};

/// Bytes of a file, into registered memory. (The question names a place of a table that is not there.)
///
/// Tried by `fixed_buffers_are_read_into_and_written_from`.
pub(super) const READ_FIXED: Row = Row::new("read-fixed", 4, "5.1");

/// Bytes of a file, into several buffers.
///
/// Tried by `vectors_of_a_file_are_one_operation`.
pub(super) const READ_VECTORED: Row = Row::new("readv", 1, "5.1");

/// Bytes to a file, from registered memory.
///
/// Tried by `fixed_buffers_are_read_into_and_written_from`.
pub(super) const WRITE_FIXED: Row = Row::new("write-fixed", 5, "5.1");

/// Bytes to a file, from several buffers.
///
/// Tried by `vectors_of_a_file_are_one_operation`.
pub(super) const WRITE_VECTORED: Row = Row::new("writev", 2, "5.1");

/// Reads into one buffer. `K` keeps the file open.
pub(crate) struct ReadAt<K, B> {
    file: K,
    buffer: B,
    at: u64,
    /// The file is read past the cache, where nothing is in memory already.
    direct: bool,
    /// Where the buffer's memory stands in the table of the ring, if it does.
    place: Option<u16>,
}

/// Writes from one buffer. `K` keeps the file open.
pub(crate) struct WriteAt<K, B> {
    file: K,
    buffer: B,
    /// Where in the buffer to begin.
    start: usize,
    at: u64,
    place: Option<u16>,
}

/// Reads into several buffers, in order. `K` keeps the file open.
pub(crate) struct ReadVectoredAt<K, B> {
    file: K,
    buffers: Vec<B>,
    vectors: Vec<abi::iovec>,
    at: u64,
    direct: bool,
}

/// Writes from several buffers, in order. `K` keeps the file open.
pub(crate) struct WriteVectoredAt<K, B> {
    file: K,
    buffers: Vec<B>,
    vectors: Vec<abi::iovec>,
    at: u64,
}

impl<K, B: IoBufMut> ReadAt<K, B> {
    /// `direct` says that the file is read past the cache.
    pub(crate) fn new(file: K, buffer: B, at: u64, direct: bool) -> ReadAt<K, B> {
        ReadAt { file, buffer, at, direct, place: None }
    }

    /// The memory is registered with the core's ring, at this place.
    pub(crate) fn registered(self, place: Option<u16>) -> ReadAt<K, B> {
        ReadAt { place, ..self }
    }

    fn room(&mut self) -> abi::iovec {
        let len = self.buffer.bytes_total().min(sys::TRANSFER_MAX);
        abi::iovec { iov_base: self.buffer.stable_mut_ptr().cast(), iov_len: len }
    }
}

impl<K: KeepsOpen, B: IoBufMut> ReadAt<K, B> {
    fn transfer(&mut self) -> Transfer {
        let memory = Memory::One(self.room());
        Transfer { fd: self.file.fd(), memory, at: Some(self.at), write: false }
    }
}

impl<K, B: IoBuf> WriteAt<K, B> {
    /// Writes what follows the first `start` bytes of the buffer.
    pub(crate) fn new(file: K, buffer: B, start: usize, at: u64) -> WriteAt<K, B> {
        WriteAt { file, buffer, start, at, place: None }
    }

    /// The memory is registered with the core's ring, at this place.
    pub(crate) fn registered(self, place: Option<u16>) -> WriteAt<K, B> {
        WriteAt { place, ..self }
    }

    fn bytes(&self) -> abi::iovec {
        let bytes = &self.buffer.as_slice()[self.start..];
        let len = bytes.len().min(sys::TRANSFER_MAX);
        abi::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len }
    }
}

impl<K: KeepsOpen, B: IoBuf> WriteAt<K, B> {
    fn transfer(&self) -> Transfer {
        let memory = Memory::One(self.bytes());
        Transfer { fd: self.file.fd(), memory, at: Some(self.at), write: true }
    }
}

impl<K, B: IoBufMut> ReadVectoredAt<K, B> {
    pub(crate) fn new(file: K, mut buffers: Vec<B>, at: u64, direct: bool) -> ReadVectoredAt<K, B> {
        let vectors = buffers
            .iter_mut()
            .map(|buffer| abi::iovec {
                iov_base: buffer.stable_mut_ptr().cast(),
                iov_len: buffer.bytes_total(),
            })
            .take(sys::VECTORS_MAX)
            .collect();
        ReadVectoredAt { file, buffers, vectors, at, direct }
    }
}

impl<K: KeepsOpen, B: IoBufMut> ReadVectoredAt<K, B> {
    fn transfer(&self) -> Transfer {
        let memory = Memory::Several(self.vectors.as_ptr(), self.vectors.len());
        Transfer { fd: self.file.fd(), memory, at: Some(self.at), write: false }
    }
}

impl<K, B: IoBuf> WriteVectoredAt<K, B> {
    pub(crate) fn new(file: K, buffers: Vec<B>, at: u64) -> WriteVectoredAt<K, B> {
        let vectors = buffers
            .iter()
            .map(|buffer| abi::iovec {
                iov_base: buffer.stable_ptr().cast_mut().cast(),
                iov_len: buffer.bytes_init(),
            })
            .take(sys::VECTORS_MAX)
            .collect();
        WriteVectoredAt { file, buffers, vectors, at }
    }
}

impl<K: KeepsOpen, B: IoBuf> WriteVectoredAt<K, B> {
    fn transfer(&self) -> Transfer {
        let memory = Memory::Several(self.vectors.as_ptr(), self.vectors.len());
        Transfer { fd: self.file.fd(), memory, at: Some(self.at), write: true }
    }
}

/// Makes the call if it need not wait.
///
/// # Safety
/// As for `Transfer::run`.
unsafe fn if_cached(transfer: Transfer, direct: bool) -> io::Result<u32> {
    if direct {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: the caller vouches for it.
    unsafe { transfer.run_if_cached() }
}

// SAFETY: entry and call point to the buffer's memory, whose address `IoBufMut` promises to be stable.
unsafe impl<K: KeepsOpen, B: IoBufMut> Op for ReadAt<K, B> {
    /// How many bytes came, and the buffer.
    type Output = (io::Result<usize>, B);
    const CODE: Code = Code::Read;

    fn fd(&self) -> RawFd {
        self.file.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForDisk
    }

    fn sqe(&mut self) -> Option<Entry> {
        let room = self.room();
        let (row, buffer) = match self.place {
            Some(place) => (&READ_FIXED, place),
            None => (&read::ROW, 0),
        };
        let entry = row.entry(self.fd()).memory(room.iov_base, room.iov_len);
        Some(Entry { offset: self.at, buffer, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        // SAFETY: `IoBufMut` promises that the memory is valid.
        unsafe { if_cached(self.transfer(), self.direct) }
    }

    fn call(&mut self) -> Call {
        Call::transfer(self.transfer())
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        filled(&mut self.buffer, &result);
        (result.map(|count| count as usize), self.buffer)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

// SAFETY: entry and call point to the buffer's memory, whose address `IoBuf` promises to
// be stable, and to the vector, which is in a box.
unsafe impl<K: KeepsOpen, B: IoBuf> Op for WriteAt<K, B> {
    /// How many bytes went, and the buffer.
    type Output = (io::Result<usize>, B);
    const CODE: Code = Code::Write;

    fn fd(&self) -> RawFd {
        self.file.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForDisk
    }

    fn sqe(&mut self) -> Option<Entry> {
        let bytes = self.bytes();
        let (row, buffer) = match self.place {
            Some(place) => (&WRITE_FIXED, place),
            None => (&write::ROW, 0),
        };
        let entry = row.entry(self.fd()).memory(bytes.iov_base, bytes.iov_len);
        Some(Entry { offset: self.at, buffer, ..entry })
    }

    /// A write may always wait for the disk.
    fn attempt(&mut self) -> io::Result<u32> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn call(&mut self) -> Call {
        Call::transfer(self.transfer())
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffer)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

// SAFETY: entry and call point to the vectors, which are on the heap, and those to the
// buffers, whose addresses `IoBufMut` promises to be stable.
unsafe impl<K: KeepsOpen, B: IoBufMut> Op for ReadVectoredAt<K, B> {
    /// How many bytes came, and the buffers.
    type Output = (io::Result<usize>, Vec<B>);
    const CODE: Code = Code::ReadVectored;

    fn fd(&self) -> RawFd {
        self.file.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForDisk
    }

    fn sqe(&mut self) -> Option<Entry> {
        let entry = READ_VECTORED.entry(self.fd());
        let entry = entry.memory(self.vectors.as_ptr(), self.vectors.len());
        Some(Entry { offset: self.at, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        // SAFETY: `IoBufMut` promises that the memory is valid, and the vectors are ours.
        unsafe { if_cached(self.transfer(), self.direct) }
    }

    fn call(&mut self) -> Call {
        Call::transfer(self.transfer())
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        if let Ok(count) = result {
            let mut left = count as usize;
            for buffer in &mut self.buffers {
                let part = left.min(buffer.bytes_total());
                filled(buffer, &Ok(part as u32));
                left -= part;
            }
        }
        (result.map(|count| count as usize), self.buffers)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

// SAFETY: entry and call point to the vectors, which are on the heap, and those to the
// buffers, whose addresses `IoBuf` promises to be stable.
unsafe impl<K: KeepsOpen, B: IoBuf> Op for WriteVectoredAt<K, B> {
    /// How many bytes went, and the buffers.
    type Output = (io::Result<usize>, Vec<B>);
    const CODE: Code = Code::WriteVectored;

    fn fd(&self) -> RawFd {
        self.file.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForDisk
    }

    fn sqe(&mut self) -> Option<Entry> {
        let entry = WRITE_VECTORED.entry(self.fd());
        let entry = entry.memory(self.vectors.as_ptr(), self.vectors.len());
        Some(Entry { offset: self.at, ..entry })
    }

    /// A write may always wait for the disk.
    fn attempt(&mut self) -> io::Result<u32> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn call(&mut self) -> Call {
        Call::transfer(self.transfer())
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffers)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
