//! What FreeBSD has and its siblings have not, or not in this form.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::super::{cvt, position};
use super::get_option;

/// Lets several sockets of this user be bound to the same address, among which connections are
/// spread (12).
pub(crate) fn share_port(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    socket.set_reuse_port_lb(on)
}

/// Whether they may.
pub(crate) fn shares_port(socket: &socket2::Socket) -> io::Result<bool> {
    socket.reuse_port_lb()
}

/// Who made the other end of a local connection: process (0 before 13), user, group.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<(i32, u32, u32)> {
    // SAFETY: plain numbers.
    let who: libc::xucred = unsafe { get_option(fd, libc::SOL_LOCAL, libc::LOCAL_PEERCRED) }?;
    // SAFETY: the other field of the union is of no use, and the record began as zeros.
    let pid = unsafe { who.cr_pid__c_anonymous_union.cr_pid };
    Ok((pid, who.cr_uid, who.cr_groups[0]))
}

/// The flag of open(2) for a file that is not to be cached.
pub(crate) const DIRECT: Option<libc::c_int> = Some(libc::O_DIRECT);

/// Lets a file that was opened so not be cached, which it is not.
pub(crate) fn pass_cache(_file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Makes room in a file, from a position on; zeros if it was not written to before.
pub(crate) fn allocate(fd: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<()> {
    let (at, len) = (position(at)?, position(len)?);
    // SAFETY: the call takes no pointer.
    match unsafe { libc::posix_fallocate(fd.as_raw_fd(), at, len) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// -1 is the calling thread.
const THIS: libc::id_t = -1;

/// The processors that this thread may run on, in order.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpuset_t>::zeroed();
    let (size, mask) = (size_of::<libc::cpuset_t>(), set.as_mut_ptr());
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    // SAFETY: the set is valid for writing the size that is told.
    cvt(unsafe { libc::cpuset_getaffinity(level, which, THIS, size, mask) })?;
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
    let mut set = MaybeUninit::<libc::cpuset_t>::zeroed();
    // SAFETY: zeroed is a valid empty set, and the index is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, set.assume_init_mut()) };
    let (size, mask) = (size_of::<libc::cpuset_t>(), set.as_ptr());
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    // SAFETY: the set is valid for reading the size that is told.
    cvt(unsafe { libc::cpuset_setaffinity(level, which, THIS, size, mask) }).map(drop)
}
