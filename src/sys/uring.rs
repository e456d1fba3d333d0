//! The io_uring calls that the `io-uring` crate does not make the way the driver needs them.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use super::cvt;

const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;

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
    enter_for(ring, submit, wait, flags, timeout, 0)
}

/// The same; from `min_wait_us` microseconds on a single completion will do (6.12).
pub(crate) fn enter_for(
    ring: RawFd,
    submit: u32,
    wait: u32,
    flags: u32,
    timeout: Option<Duration>,
    min_wait_us: u32,
) -> io::Result<u32> {
    let timespec = timeout.map(|timeout| Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    });
    let mut argument = GetEvents { sigmask: 0, sigmask_size: 8, min_wait_us, timespec: 0 };
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
    super::scratch::limit(libc::RLIMIT_MEMLOCK).0
}

/// Enters no ring at all: the errno, which is EBADF if the call gets as far as io_uring.
pub(crate) fn enter_nothing() -> i32 {
    enter(-1, 0, 0, 0, None).map_or_else(|error| error.raw_os_error().unwrap_or(0), |_| 0)
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Params {
    pub(crate) submission_entries: u32,
    pub(crate) completion_entries: u32,
    pub(crate) flags: u32,
    pub(crate) thread_cpu: u32,
    pub(crate) thread_idle_ms: u32,
    pub(crate) features: u32,
    pub(crate) wq_fd: u32,
    reserved: [u32; 3],
    submission_offsets: [u32; 8],
    submission_address: u64,
    completion_offsets: [u32; 8],
    completion_address: u64,
}

impl Params {
    pub(crate) fn new(flags: u32) -> Params {
        Params { flags, ..Params::default() }
    }
}

/// The rings lie in memory of the caller's (6.5).
pub(crate) const SETUP_NO_MMAP: u32 = 1 << 14;
/// The ring has an index and no descriptor (6.5).
pub(crate) const SETUP_REGISTERED_FD_ONLY: u32 = 1 << 15;

/// Sets a ring up in memory of the kernel's.
pub(crate) fn setup(entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
    assert_eq!(params.flags & (SETUP_NO_MMAP | SETUP_REGISTERED_FD_ONLY), 0);
    // SAFETY: the parameters live until the call returns.
    let fd =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, std::ptr::from_mut(params)) };
    let fd = cvt(fd as libc::c_int)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { super::own(fd) })
}

/// Sets a small ring up in a page of ours for either queue, and takes it down again; by an index
/// instead of a descriptor if `index_only`.
pub(crate) fn setup_in_our_memory(index_only: bool) -> io::Result<()> {
    const PAGE: usize = 4096;
    let memory = super::Mapping::anonymous(2 * PAGE)?;
    let mut params = Params::new(SETUP_NO_MMAP);
    if index_only {
        params.flags |= SETUP_REGISTERED_FD_ONLY;
    }
    params.completion_address = memory.address() as u64;
    params.submission_address = memory.address() as u64 + PAGE as u64;
    // SAFETY: two pages of ours, which the kernel pins for as long as the ring is there.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4u32, &raw mut params) };
    let fd = cvt(fd as libc::c_int)?;
    if index_only {
        return unregister_ring_fd(fd as u32);
    }
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { super::own(fd) });
    Ok(())
}

/// Gives up an index that was registered for a ring. The ring itself names who gives it up: its
/// descriptor, or the index itself where it has none.
pub(crate) fn unregister_ring(ring: RawFd, index: u32) -> io::Result<()> {
    unregister(ring, UNREGISTER_RING_FDS, index)
}

fn unregister_ring_fd(index: u32) -> io::Result<()> {
    const USE_REGISTERED_RING: u32 = 1 << 31;
    unregister(index as RawFd, UNREGISTER_RING_FDS | USE_REGISTERED_RING, index)
}

fn unregister(ring: RawFd, opcode: u32, index: u32) -> io::Result<()> {
    let mut update = RsrcUpdate { offset: index, reserved: 0, data: 0 };
    // SAFETY: the update lives until the call returns, and holds no address.
    unsafe { register(ring, opcode, (&raw mut update).cast(), 1) }.map(drop)
}

/// `io_uring_register`.
///
/// # Safety
/// `argument` must be what the operation takes, valid for `count` of them, and so must be whatever
/// it points to, for as long as the ring uses it.
pub(crate) unsafe fn register(
    ring: RawFd,
    opcode: u32,
    argument: *mut libc::c_void,
    count: u32,
) -> io::Result<u32> {
    // SAFETY: the caller vouches for the argument.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, opcode, argument, count) };
    cvt(done as libc::c_int).map(|done| done as u32)
}

/// Sends a message to a ring (6.13): a completion with this result and `user_data` appears in its queue.
/// It takes no ring to send one. Never blocks.
pub(crate) fn message(ring: RawFd, result: i32, user_data: u64) -> io::Result<()> {
    const SEND_MSG_RING: libc::c_uint = 31;
    let ring = io_uring::types::Fd(ring);
    let mut entry = io_uring::opcode::MsgRingData::new(ring, result, user_data, None).build();
    // SAFETY: the argument is one submission entry, which lives until the call returns, and a message
    // of this kind points to nothing.
    unsafe { register(-1, SEND_MSG_RING, (&raw mut entry).cast(), 1) }.map(drop)
}

/// Asks for a registration with an argument that cannot be valid, or none: the errno. The kernel
/// answers EINVAL to an operation that it does not know, before it looks at the argument.
pub(crate) fn register_nothing(ring: RawFd, opcode: u32, argument: bool, count: u32) -> i32 {
    // The lowest page is never mapped for a process that has not asked for it.
    let argument = std::ptr::without_provenance_mut(usize::from(argument));
    // SAFETY: no memory is named, so that none can be touched.
    let done = unsafe { register(ring, opcode, argument, count) };
    done.map_or_else(|error| error.raw_os_error().unwrap_or(0), |_| 0)
}

/// `struct io_uring_region_desc`.
#[repr(C)]
#[derive(Default)]
struct Region {
    address: u64,
    length: u64,
    flags: u32,
    id: u32,
    offset: u64,
    reserved: [u64; 4],
}

/// `struct io_uring_zcrx_area_reg`.
#[repr(C)]
#[derive(Default)]
struct Area {
    address: u64,
    length: u64,
    token: u64,
    flags: u32,
    dmabuf: u32,
    reserved: [u64; 2],
}

/// `struct io_uring_zcrx_ifq_reg`.
#[repr(C)]
#[derive(Default)]
struct InterfaceQueue {
    interface: u32,
    queue: u32,
    entries: u32,
    flags: u32,
    area: u64,
    region: u64,
    offsets: [u64; 4],
    id: u32,
    reserved: [u32; 7],
}

/// Asks for the packets of a queue that an interface does not have: the errno, which is ERANGE if
/// nothing but the queue is missing. An error is one of getting there.
pub(crate) fn refuse_queue(ring: RawFd, interface: u32, queues: u32) -> io::Result<i32> {
    const REGISTER_ZCRX_IFQ: u32 = 32;
    const USER_MEMORY: u32 = 1;
    const LENGTH: usize = 4096;
    let (packets, refill) =
        (super::Mapping::anonymous(LENGTH)?, super::Mapping::anonymous(LENGTH)?);
    let (length, flags) = (LENGTH as u64, USER_MEMORY);
    let mut area = Area { address: packets.address() as u64, length, ..Area::default() };
    let mut region =
        Region { address: refill.address() as u64, length, flags, ..Region::default() };
    let mut wish = InterfaceQueue {
        interface,
        queue: queues,
        entries: 4,
        area: &raw mut area as u64,
        region: &raw mut region as u64,
        ..InterfaceQueue::default()
    };
    // SAFETY: the records and the memory that they name live until the call returns. There is no such
    // queue, so that nothing is used after that; and if there were, the kernel has pinned the memory.
    let done = unsafe { register(ring, REGISTER_ZCRX_IFQ, (&raw mut wish).cast(), 1) };
    Ok(done.map_or_else(|error| error.raw_os_error().unwrap_or(0), |_| libc::ERANGE))
}
