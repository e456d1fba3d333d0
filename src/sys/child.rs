//! Child processes, by number and by descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::cvt;

/// A record of a signal that has not been filled in.
pub(crate) fn no_signal() -> libc::siginfo_t {
    // SAFETY: all zeros is a record of no signal.
    unsafe { std::mem::zeroed() }
}

/// Fills in how a child has ended, and lets it go; `WouldBlock` while it has not.
pub(crate) fn wait_child(pid: libc::pid_t, info: &mut libc::siginfo_t) -> io::Result<u32> {
    *info = no_signal();
    let options = libc::WEXITED | libc::WNOHANG;
    // SAFETY: the record is valid for writing.
    cvt(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info, options) })?;
    // SAFETY: zeroed or filled in, the field is there.
    match unsafe { info.si_pid() } {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(0),
    }
}

/// A descriptor of a process (5.3), close-on-exec, readable when it has ended.
pub(crate) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process of a descriptor, and never to another that has its number since.
pub(crate) fn pidfd_kill(process: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    let fd = process.as_raw_fd();
    // SAFETY: a null record lets the kernel fill in its own.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
    cvt(sent as libc::c_int).map(drop)
}
