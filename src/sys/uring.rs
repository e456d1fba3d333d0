//! The io_uring calls that the `io-uring` crate does not make the way the driver needs them.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::cvt;

const REGISTER_RING_FDS: libc::c_uint = 20;

/// `enter` names the ring by the index it was registered under.
pub(crate) const ENTER_REGISTERED_RING: u32 = 1 << 4;
/// `enter` runs what is pending and reports completions.
pub(crate) const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct io_uring_rsrc_update`, which also registers ring descriptors.
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Submits `submit` entries and waits for `wait` completions, for at most `timeout`.
///
/// Returns how many entries were taken. `ring` is a descriptor, or an index if `flags` say so.
pub(crate) fn enter(
    ring: RawFd,
    submit: u32,
    wait: u32,
    flags: u32,
    timeout: Option<Duration>,
) -> io::Result<u32> {
    let timespec = timeout.map(|timeout| Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    });
    let mut argument = GetEvents { sigmask: 0, sigmask_size: 8, min_wait_us: 0, timespec: 0 };
    let (pointer, size, flags) = match &timespec {
        None => (std::ptr::null(), 8, flags),
        Some(timespec) => {
            argument.timespec = std::ptr::from_ref(timespec) as u64;
            (&raw const argument, size_of::<GetEvents>(), flags | ENTER_EXT_ARG)
        }
    };
    // SAFETY: the argument and the timespec that it points to live until the call returns.
    let taken = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, ring, submit, wait, flags, pointer, size)
    };
    match taken {
        -1 => Err(io::Error::last_os_error()),
        taken => Ok(taken as u32),
    }
}

/// Registers the ring's own descriptor, which saves its look-up at each `enter`: the index.
pub(crate) fn register_ring_fd(ring: RawFd) -> io::Result<u32> {
    let mut update = RsrcUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
    // SAFETY: the update lives until the call returns.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_RING_FDS, &raw mut update, 1)
    };
    cvt(done as libc::c_int)?;
    Ok(update.offset)
}

/// The soft limit of memory that may be locked, in bytes; `None` for no limit.
pub(crate) fn locked_memory_limit() -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    let known = cvt(unsafe { libc::getrlimit64(libc::RLIMIT_MEMLOCK, &mut limit) }).is_ok();
    (known && limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur)
}
