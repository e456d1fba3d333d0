//! The system calls that the rest of the crate makes, each as a safe function over plain values.
//!
//! Nothing here blocks: what could is made with the flag that forbids it.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

mod thread;
#[cfg(target_os = "linux")]
pub(crate) mod splice;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

pub(crate) use thread::ThreadClock;

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

fn get_mode(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: F_GETFL takes no pointer.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

fn set_mode(fd: RawFd, mode: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETFL takes an integer.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFL, mode) }).map(drop)
}

/// A new socket, close-on-exec, and non-blocking if asked for.
pub(crate) fn socket(domain: i32, kind: i32, nonblocking: bool) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(domain, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Accepts a connection; the new socket is close-on-exec, and non-blocking if asked for.
pub(crate) fn accept(fd: RawFd, nonblocking: bool) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    let (address, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: null pointers ask for no address.
    let fd = cvt(unsafe { libc::accept4(fd, address, length, flags) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

/// Sends several buffers as one.
///
/// # Safety
/// The header's vectors must describe memory valid for reading.
pub(crate) unsafe fn sendmsg(fd: RawFd, header: &libc::msghdr) -> io::Result<u32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller vouches for the vectors.
    cvt_size(unsafe { libc::sendmsg(fd, header, flags) })
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

/// The longest wait that is asked of the kernel, in seconds (68 years): what fits every kind of
/// `time_t`. Who waits longer is woken in between.
pub(crate) const WAIT_MAX_SECS: u64 = i32::MAX as u64;

/// Waits for any of the descriptors, to the nanosecond; `None` is for ever.
pub(crate) fn ppoll(fds: &mut [libc::pollfd], at_most: Option<Duration>) -> io::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    let at_most = at_most.map(|time| {
        // SAFETY: plain numbers (and on some platforms padding, so it has no literal).
        let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
        spec.tv_sec = time.as_secs().min(WAIT_MAX_SECS) as _;
        spec.tv_nsec = time.subsec_nanos() as _;
        spec
    });
    let time = at_most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the slice is valid for its length, the time is null or a local, and a null mask
    // leaves the signals alone.
    let ready = cvt(unsafe { libc::ppoll(fds.as_mut_ptr(), count, time, std::ptr::null()) })?;
    Ok(ready as usize)
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

/// An eventfd: a counter that another thread can raise to end a wait.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one; `nonblocking` decides whether reading a zero count waits.
    pub(crate) fn new(nonblocking: bool) -> io::Result<EventFd> {
        let flags = libc::EFD_CLOEXEC | if nonblocking { libc::EFD_NONBLOCK } else { 0 };
        // SAFETY: eventfd takes no pointer.
        let fd = cvt(unsafe { libc::eventfd(0, flags) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Raises the count by one.
    pub(crate) fn raise(&self) -> io::Result<()> {
        loop {
            match write(self.fd(), &1u64.to_ne_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The counter is at its limit: the reader has plenty to wake up for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => return other.map(drop),
            }
        }
    }

    /// Takes the count down to zero. For a non-blocking one only.
    pub(crate) fn drain(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the array has room for the eight bytes of a counter.
        // An error says that the count was zero already.
        let _ = unsafe { read(self.fd(), count.as_mut_ptr(), count.len()) };
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The processors that this thread may run on, in order.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the set is valid for writing the size that is told.
    cvt(unsafe { libc::sched_getaffinity(0, size, set.as_mut_ptr()) })?;
    // SAFETY: zeroed is a valid set, and the kernel has filled it.
    let set = unsafe { set.assume_init() };
    // SAFETY: every index is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

/// Lets this thread run on one processor only.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeroed is a valid empty set, and the index is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, set.assume_init_mut()) };
    // SAFETY: the set is valid for reading the size that is told.
    cvt(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr()) }).map(drop)
}

/// The soft limit of memory that may be locked, in bytes; `None` for no limit.
pub(crate) fn locked_memory_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    let known = cvt(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) }).is_ok();
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
