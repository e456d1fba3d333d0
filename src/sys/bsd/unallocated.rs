//! Where no file system makes room in a file before it is written.

use std::io;
use std::os::fd::BorrowedFd;

/// Makes room in a file: there is no such call.
pub(crate) fn allocate(_fd: BorrowedFd<'_>, _at: u64, _len: u64) -> io::Result<()> {
    let message = "this system cannot make room in a file before it is written";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
