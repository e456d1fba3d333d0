//! What Apple's systems lack of POSIX.1-2024, made of what they have: the list of `posix.rs`.
//!
//! A descriptor is made first and gets its flags afterwards. A process that another thread starts in
//! between inherits it: there is no call without that gap.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{cvt, set_nonblocking};

/// There is nothing that sockets can be made with.
pub(crate) const SOCKET_FLAGS: libc::c_int = 0;

/// A new socket, close-on-exec and non-blocking.
pub(crate) fn socket(domain: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(domain, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    with_flags(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Accepts a connection; the new socket is close-on-exec and non-blocking.
pub(crate) fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: null pointers ask for no address.
    let fd = cvt(unsafe { libc::accept(fd, std::ptr::null_mut(), std::ptr::null_mut()) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    with_flags(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a new socket the flags that it should have been made with.
fn with_flags(socket: OwnedFd) -> io::Result<OwnedFd> {
    let fd = socket.as_raw_fd();
    // SAFETY: FIOCLEX takes no argument.
    cvt(unsafe { libc::ioctl(fd, libc::FIOCLEX) })?;
    set_nonblocking(fd, true)?;
    match socket2::SockRef::from(&socket).set_nosigpipe(true) {
        // The peer has reset the connection already: what reads or writes it is told so.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(socket),
        other => other.map(|()| socket),
    }
}

/// Waits for any of the descriptors, to the millisecond, never too short; `None` is for ever.
pub(crate) fn ppoll(fds: &mut [libc::pollfd], at_most: Option<Duration>) -> io::Result<usize> {
    let millis = at_most
        .map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    super::poll(fds, millis)
}

/// A pipe, close-on-exec: the end to read from and the end to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for two numbers.
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just made these descriptors for us.
    let pair = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    for end in ends {
        // SAFETY: F_SETFD takes an integer.
        cvt(unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    Ok(pair)
}

/// There is no such flag: see `close_on_exec`.
pub(crate) const MSG_CMSG_CLOEXEC: libc::c_int = 0;

/// Makes a received descriptor close-on-exec.
pub(crate) fn close_on_exec(fd: &OwnedFd) {
    // SAFETY: F_SETFD takes an integer. It cannot fail for an open descriptor.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
}
