//! Child processes, by number and by descriptor.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::cvt;

/// How a child has ended, and lets it go; `None` while it has not.
pub(crate) fn try_wait_child(pid: libc::pid_t) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: the pointer is to a local.
    match cvt(unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) })? {
        0 => Ok(None),
        _ => Ok(Some(ExitStatus::from_raw(status))),
    }
}

/// Sends a signal to a child. Nobody must have waited for it: then its number may be another's.
pub(crate) fn kill_child(pid: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    cvt(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// A record of a signal that has not been filled in.
#[cfg(target_os = "linux")]
pub(crate) fn no_signal() -> libc::siginfo_t {
    // SAFETY: all zeros is a record of no signal.
    unsafe { std::mem::zeroed() }
}

/// A descriptor of a process (5.3), close-on-exec, readable when it has ended.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process of a descriptor, and never to another that has its number since.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_kill(process: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    let fd = process.as_raw_fd();
    // SAFETY: a null record lets the kernel fill in its own.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
    cvt(sent as libc::c_int).map(drop)
}
