//! Calls of POSIX.1-2024, which all systems have but those of Apple: `apple.rs` is the same list for
//! them.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{cvt, timespec};

/// What sockets are made with: they are close-on-exec and non-blocking.
pub(crate) const SOCKET_FLAGS: libc::c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// A new socket, close-on-exec and non-blocking.
pub(crate) fn socket(domain: i32, kind: i32) -> io::Result<OwnedFd> {
    let kind = kind | SOCKET_FLAGS;
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(domain, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Accepts a connection; the new socket is close-on-exec and non-blocking.
pub(crate) fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    let (address, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: null pointers ask for no address.
    let fd = cvt(unsafe { libc::accept4(fd, address, length, SOCKET_FLAGS) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for any of the descriptors, to the nanosecond; `None` is for ever.
pub(crate) fn ppoll(fds: &mut [libc::pollfd], at_most: Option<Duration>) -> io::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    let at_most = at_most.map(timespec);
    let time = at_most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the slice is valid for its length, the time is null or a local, and a null mask
    // leaves the signals alone.
    let ready = cvt(unsafe { libc::ppoll(fds.as_mut_ptr(), count, time, std::ptr::null()) })?;
    Ok(ready as usize)
}

/// A pipe, close-on-exec: the end to read from and the end to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for two numbers.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made these descriptors for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Lets received descriptors be close-on-exec from the beginning.
pub(crate) const MSG_CMSG_CLOEXEC: libc::c_int = libc::MSG_CMSG_CLOEXEC;

/// Makes a received descriptor close-on-exec, which it is.
pub(crate) fn close_on_exec(_fd: &OwnedFd) {}
