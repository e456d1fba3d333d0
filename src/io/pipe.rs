//! Pipes.

use std::io;
use std::rc::Rc;

use super::{methods, Descriptor};
use crate::handle::IoHandle;
use crate::sys;
use crate::sys::fd::OwnedFd;

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

/// The end of a pipe to read from.
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

    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_read_methods!();
    methods::readable_methods!("pipe");
    methods::close_methods!("pipe");
}

methods::descriptor_traits!(PipeReader);

/// The end of a pipe to write to. When the last writer is closed or dropped, the reader finds the end.
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

    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_write_methods!();
    methods::writable_methods!("pipe");
    methods::close_methods!("pipe");
}

methods::descriptor_traits!(PipeWriter);
