//! Pipes.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{Descriptor, Pollable};
use crate::buf::{IoBuf, IoBufMut};
use crate::sys;

/// A pipe: what is written to one end is read from the other, in order.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// let (reader, writer) = ringpark::io::pipe()?;
/// writer.write_all("through the pipe").await.0?;
/// drop(writer);
/// let (result, bytes) = reader.read_to_end(Vec::new()).await;
/// result?;
/// assert_eq!(bytes, b"through the pipe");
/// # Ok(()) }) }
/// ```
///
/// # Errors
/// Those of pipe(2), above all EMFILE.
///
/// # Panics
/// Outside a runtime.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = sys::pipe()?;
    Ok((PipeReader::new(reader)?, PipeWriter::new(writer)?))
}

/// The end of a pipe to read from. Deadlines, readiness and closing are those of [`Pollable`], to
/// which it dereferences.
///
/// Dropping the future of a read loses nothing: what arrives is given to the next one.
pub struct PipeReader {
    descriptor: Descriptor,
}

impl PipeReader {
    /// Takes over a descriptor to read from, such as one that std has made or another process has
    /// handed in. On backends other than io_uring it is made non-blocking.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(fd: OwnedFd) -> io::Result<PipeReader> {
        Ok(PipeReader { descriptor: Descriptor::new(fd)? })
    }

    pub(super) fn of(descriptor: Descriptor) -> PipeReader {
        PipeReader { descriptor }
    }

    /// Reads some bytes into the buffer's room; 0 is the end: the last writer has closed, unless the
    /// buffer has no room.
    ///
    /// # Errors
    /// Those of read(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.descriptor.read(buffer).await
    }

    /// Fills the buffer's room. Dropping the future loses what has been read into the buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before; those of [`read`](PipeReader::read).
    pub async fn read_exact<B: IoBufMut>(&self, buffer: B) -> (io::Result<()>, B) {
        self.descriptor.read_exact(buffer).await
    }

    /// Reads all there is, behind what is in the vector: how many bytes. Dropping the future loses
    /// what has been read.
    ///
    /// # Errors
    /// Those of [`read`](PipeReader::read); what was read before is in the vector.
    pub async fn read_to_end(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.descriptor.read_to_end(buffer).await
    }
}

/// The end of a pipe to write to. Deadlines, readiness and closing are those of [`Pollable`], to
/// which it dereferences. When the last writer is closed or dropped, the reader finds the end.
pub struct PipeWriter {
    descriptor: Descriptor,
}

impl PipeWriter {
    /// Takes over a descriptor to write to. On backends other than io_uring it is made non-blocking.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(fd: OwnedFd) -> io::Result<PipeWriter> {
        Ok(PipeWriter { descriptor: Descriptor::new(fd)? })
    }

    pub(super) fn of(descriptor: Descriptor) -> PipeWriter {
        PipeWriter { descriptor }
    }

    /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
    ///
    /// # Errors
    /// Those of write(2), above all `BrokenPipe` when nobody can read (and no SIGPIPE, unless the
    /// program has given it back its power); `TimedOut` after the write deadline;
    /// [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.descriptor.write(buffer).await
    }

    /// Writes all of the buffer's bytes.
    ///
    /// # Errors
    /// As for [`write`](PipeWriter::write); [`written`](super::written) tells how many went out.
    pub async fn write_all<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, B) {
        self.descriptor.write_all(buffer).await
    }
}

impl Deref for PipeReader {
    type Target = Pollable;

    fn deref(&self) -> &Pollable {
        &self.descriptor
    }
}

impl Deref for PipeWriter {
    type Target = Pollable;

    fn deref(&self) -> &Pollable {
        &self.descriptor
    }
}

impl AsRawFd for PipeReader {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl AsRawFd for PipeWriter {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader").field("fd", &self.as_raw_fd()).finish()
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter").field("fd", &self.as_raw_fd()).finish()
    }
}
