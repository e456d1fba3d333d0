//! Where a thread runs wherever the kernel puts it.

use std::io;

fn unsupported<T>() -> io::Result<T> {
    let message = "this system cannot bind a thread to a processor";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// The processors that this thread may run on: which they are is not to be had.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    unsupported()
}

/// Lets this thread run on one processor only: it cannot be told.
pub(crate) fn pin_to(_cpu: usize) -> io::Result<()> {
    unsupported()
}
