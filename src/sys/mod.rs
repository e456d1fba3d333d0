//! The platform: the system calls that no crate has in the form that is needed, and every name of the
//! system's that the rest of the crate uses. Descriptors are named by `fd`, errors by `errno`, structures and
//! flags by `abi`; sockets are controlled by `socket`.
//!
//! A call that a core makes is made with the flag that forbids waiting. Those that may wait all the same say
//! so: they are for helper threads, for a core's start, and for its end.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

// Each of these pairs is one list of names, made in two ways.
#[cfg(not(target_os = "linux"))]
#[path = "bsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;

#[cfg(target_vendor = "apple")]
#[path = "apple.rs"]
mod calls;
#[cfg(not(target_vendor = "apple"))]
#[path = "posix.rs"]
mod calls;

#[cfg_attr(any(target_os = "linux", target_vendor = "apple"), path = "pktinfo.rs")]
#[cfg_attr(not(any(target_os = "linux", target_vendor = "apple")), path = "dstaddr.rs")]
mod destination;
#[cfg_attr(any(target_os = "netbsd", target_os = "openbsd"), path = "ip_lean.rs")]
mod ip;
#[cfg_attr(target_os = "openbsd", path = "keepalive_lean.rs")]
mod keepalive;

pub(crate) mod abi;
mod child;
pub(crate) mod errno;
pub(crate) mod fd;
mod file;
mod flag;
#[cfg(any(target_os = "netbsd", target_os = "openbsd", test))]
mod interface;
#[cfg(any(not(target_os = "linux"), ringpark_kqueue))]
#[cfg_attr(ringpark_kqueue, path = "libkqueue.rs")]
pub(crate) mod kqueue;
#[cfg(target_os = "linux")]
mod mapping;
mod message;
#[cfg(target_os = "linux")]
pub(crate) mod scratch;
pub(crate) mod signals;
pub(crate) mod socket;
#[cfg(target_os = "linux")]
pub(crate) mod splice;
pub(crate) mod stall;
mod thread;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

pub(crate) use calls::*;
pub(crate) use child::*;
pub(crate) use destination::{destination_v4, push_source_v4};
pub(crate) use file::*;
pub(crate) use ip::{ecn_v4, push_ecn_v4};
#[cfg(target_os = "linux")]
pub(crate) use mapping::Mapping;
pub(crate) use message::{recvmsg, sendmmsg, sendmsg, Control, ControlMessages};
pub(crate) use socket::Socket;
pub(crate) use system::*;
pub(crate) use thread::{at_fork_in_child, coarse_now, ThreadClock};

/// What makes a core that sleeps in its kernel look round.
pub(crate) trait Notify: std::fmt::Debug + Send + Sync {
    /// Makes a concurrent or later wait return. Any thread; never blocks.
    fn raise(&self) -> io::Result<()>;
}

/// Turns the -1 of a system call into the error that it stands for.
pub(crate) fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The same for calls that return a size.
pub(crate) fn cvt_size(result: libc::ssize_t) -> io::Result<u32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        size => Ok(u32::try_from(size).expect("the kernel moves at most 2 GiB a call")),
    }
}

/// The longest transfer that one call may ask for: what the kernel itself caps it to.
pub(crate) const TRANSFER_MAX: usize = 0x7fff_f000;

/// The most vectors that one call takes (`IOV_MAX`).
pub(crate) const VECTORS_MAX: usize = 1024;

/// Makes `call` while the descriptor is non-blocking, and puts its mode back afterwards; `already`
/// says that it is non-blocking for good.
///
/// The mode belongs to the open file, which other processes may share, so it is changed only where
/// a call has no flag of its own.
pub(crate) fn non_blocking<T>(
    fd: RawFd,
    already: bool,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if already || !set_nonblocking(fd, true)? {
        return call();
    }
    let result = call();
    set_nonblocking(fd, false)?;
    result
}

/// Sets the descriptor's mode for good; says whether it was different before.
pub(crate) fn set_nonblocking(fd: RawFd, on: bool) -> io::Result<bool> {
    let mode = get_mode(fd)?;
    let wanted = if on { mode | libc::O_NONBLOCK } else { mode & !libc::O_NONBLOCK };
    if wanted != mode {
        set_mode(fd, wanted)?;
    }
    Ok(wanted != mode)
}

/// What a control message tells: the address that a datagram was sent to, and the number of the
/// interface that it came in by.
pub(crate) type Told = (Option<IpAddr>, Option<u32>);

/// Whether a number is an open descriptor.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

fn get_mode(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: F_GETFL takes no pointer.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

fn set_mode(fd: RawFd, mode: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETFL takes an integer.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFL, mode) }).map(drop)
}

/// Receives what is there.
///
/// # Safety
/// `buffer` must be valid for writing `len` bytes.
pub(crate) unsafe fn recv(fd: RawFd, buffer: *mut u8, len: usize, flags: i32) -> io::Result<u32> {
    let len = len.min(TRANSFER_MAX);
    // SAFETY: the caller vouches for the memory.
    cvt_size(unsafe { libc::recv(fd, buffer.cast(), len, flags | libc::MSG_DONTWAIT) })
}

/// Sends what there is room for; a broken connection is an error, never a signal.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<u32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let len = bytes.len().min(TRANSFER_MAX);
    // SAFETY: the slice is valid for its length.
    cvt_size(unsafe { libc::send(fd, bytes.as_ptr().cast(), len, flags) })
}

/// Reads from a descriptor that is non-blocking.
///
/// # Safety
/// `buffer` must be valid for writing `len` bytes.
pub(crate) unsafe fn read(fd: RawFd, buffer: *mut u8, len: usize) -> io::Result<u32> {
    // SAFETY: the caller vouches for the memory.
    cvt_size(unsafe { libc::read(fd, buffer.cast(), len.min(TRANSFER_MAX)) })
}

/// Writes to a descriptor that is non-blocking.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> io::Result<u32> {
    // SAFETY: the slice is valid for its length.
    cvt_size(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len().min(TRANSFER_MAX)) })
}

/// Closes a descriptor that its owner has given up.
pub(crate) fn close(fd: OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor was owned, so nobody else uses its number.
    match cvt(unsafe { libc::close(fd.into_raw_fd()) }) {
        // Linux has closed the descriptor when it says EINTR; to call again would be wrong.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other.map(drop),
    }
}

/// Waits for any of the descriptors for at most `timeout_ms` (-1: for ever).
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    // SAFETY: the slice is valid for its length.
    cvt(unsafe { libc::poll(fds.as_mut_ptr(), count, timeout_ms) }).map(|ready| ready as usize)
}

/// The longest wait that is asked of the kernel, in seconds (three years): Darwin, NetBSD and OpenBSD
/// refuse more (`itimerfix`, `timespecfix`). Who waits longer is woken in between.
pub(crate) const WAIT_MAX_SECS: u64 = 100_000_000;

/// A time as the kernel wants it, cut to what every kernel takes.
pub(crate) fn timespec(time: Duration) -> libc::timespec {
    // SAFETY: plain numbers (and on some platforms padding, so it has no literal).
    let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
    spec.tv_sec = time.as_secs().min(WAIT_MAX_SECS) as _;
    spec.tv_nsec = time.subsec_nanos() as _;
    spec
}

/// A descriptor that many share until one of them closes it.
#[derive(Debug)]
pub(crate) struct SharedFd {
    number: Cell<RawFd>,
    /// Calls of `with` that are under way.
    borrows: Cell<u32>,
}

impl SharedFd {
    pub(crate) fn new(fd: OwnedFd) -> SharedFd {
        SharedFd { number: Cell::new(fd.into_raw_fd()), borrows: Cell::new(0) }
    }

    /// The number; -1 once it is closed.
    pub(crate) fn number(&self) -> RawFd {
        self.number.get()
    }

    /// Calls `call` with the descriptor, unless it is closed.
    pub(crate) fn with<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        struct Borrow<'a>(&'a Cell<u32>);
        impl Drop for Borrow<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        if self.number.get() < 0 {
            return None;
        }
        self.borrows.set(self.borrows.get() + 1);
        let _borrow = Borrow(&self.borrows);
        // SAFETY: the number is open, and `take` refuses to give it away while it is borrowed.
        Some(call(unsafe { borrow(self.number.get()) }))
    }

    /// Takes the descriptor away from all who share it.
    ///
    /// # Panics
    /// From within `with`.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        assert_eq!(self.borrows.get(), 0, "a descriptor is closed while a closure uses it");
        match self.number.replace(-1) {
            // SAFETY: it was owned here, and this was the only record of it.
            fd @ 0.. => Some(unsafe { own(fd) }),
            _ => None,
        }
    }
}

impl Drop for SharedFd {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// A borrowed descriptor for as long as the number is known to be open.
///
/// # Safety
/// The number must stay open for `'a`.
pub(crate) unsafe fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the caller vouches for it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Takes over a descriptor that the kernel handed out in a completion.
///
/// # Safety
/// The number must be open and nobody else's.
pub(crate) unsafe fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller vouches for it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
