//! The standard input and outputs.

use std::io;
use std::os::fd::AsFd;

use super::{Descriptor, PipeReader, PipeWriter};

/// The process's standard input, to read from without a buffer of its own: what
/// [`std::io::stdin`] has read ahead is not found here.
///
/// It works on a descriptor of its own, and the mode of the one that is shared with other processes
/// (a shell, say) is put back after each call: closing or dropping it closes nothing of the process.
///
/// # Errors
/// Those of dup(2): EBADF if the process has no standard input.
///
/// # Panics
/// Outside a runtime.
pub fn stdin() -> io::Result<Stdin> {
    shared(io::stdin().as_fd()).map(PipeReader::of)
}

/// The process's standard output, to write to without a buffer: the same as for [`stdin`]. What
/// [`std::io::stdout`] has not flushed comes later.
///
/// # Errors
/// Those of dup(2).
///
/// # Panics
/// Outside a runtime.
pub fn stdout() -> io::Result<Stdout> {
    shared(io::stdout().as_fd()).map(PipeWriter::of)
}

/// The process's standard error: the same as for [`stdout`].
///
/// # Errors
/// Those of dup(2).
///
/// # Panics
/// Outside a runtime.
pub fn stderr() -> io::Result<Stderr> {
    shared(io::stderr().as_fd()).map(PipeWriter::of)
}

/// The standard input; see [`stdin`].
pub type Stdin = PipeReader;

/// The standard output; see [`stdout`].
pub type Stdout = PipeWriter;

/// The standard error; see [`stderr`].
pub type Stderr = PipeWriter;

fn shared(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<Descriptor> {
    Ok(Descriptor::shared(fd.try_clone_to_owned()?))
}
