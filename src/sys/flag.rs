//! Options that are on or off, and that socket2 does not have.

use std::io;
use std::os::fd::AsRawFd;

use super::cvt;

/// Sets an option that is on or off.
pub(super) fn set_flag(socket: &impl AsRawFd, level: i32, name: i32, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    let (fd, length) = (socket.as_raw_fd(), size_of_val(&value) as libc::socklen_t);
    // SAFETY: the pointer is to a local of that length.
    cvt(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Whether an option is on.
pub(super) fn get_flag(socket: &impl AsRawFd, level: i32, name: i32) -> io::Result<bool> {
    let mut on: libc::c_int = 0;
    let (fd, mut length) = (socket.as_raw_fd(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the pointers are to locals, and the length is that of the first.
    cvt(unsafe { libc::getsockopt(fd, level, name, (&raw mut on).cast(), &raw mut length) })?;
    Ok(on != 0)
}
