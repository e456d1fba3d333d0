//! What Apple's systems have in a form of their own: the list of `freebsd.rs`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::super::{as_std_file, cvt, position};
use super::get_option;
pub(crate) use super::unpinned::*;

/// Lets several sockets of this user be bound to the same address: one of them gets all.
pub(crate) fn share_port(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    socket.set_reuse_port(on)
}

/// Whether they may.
pub(crate) fn shares_port(socket: &socket2::Socket) -> io::Result<bool> {
    socket.reuse_port()
}

/// Who made the other end of a local connection: process, user, group.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<(i32, u32, u32)> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: the pointers are to locals.
    cvt(unsafe { libc::getpeereid(fd, &mut user, &mut group) })?;
    // SAFETY: a plain number.
    let pid: libc::pid_t = unsafe { get_option(fd, libc::SOL_LOCAL, libc::LOCAL_PEERPID) }?;
    Ok((pid, user, group))
}

/// The flag of open(2) for a file that is not to be cached: there is none, but `pass_cache`.
pub(crate) const DIRECT: Option<libc::c_int> = Some(0);

/// Lets a file not be cached (`F_NOCACHE`).
pub(crate) fn pass_cache(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_NOCACHE takes an integer.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_NOCACHE, 1) }).map(drop)
}

/// Makes room in a file, up to the end of this part of it, behind what it has room for already.
pub(crate) fn allocate(fd: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<()> {
    let end = at.checked_add(len).filter(|_| len > 0).map_or(-1, |end| position(end).unwrap_or(-1));
    if end < 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: all zeros is a record of nothing.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local.
    cvt(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) })?;
    // Blocks are of 512 bytes here, whatever the file system's are.
    let missing = end - stat.st_blocks * 512;
    if missing > 0 {
        let (fst_flags, fst_posmode) = (libc::F_ALLOCATEALL, libc::F_PEOFPOSMODE);
        let mut wish = libc::fstore_t {
            fst_flags,
            fst_posmode,
            fst_offset: 0,
            fst_length: missing,
            fst_bytesalloc: 0,
        };
        // SAFETY: the pointer is to a local.
        cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_PREALLOCATE, &raw mut wish) })?;
    }
    match end > stat.st_size {
        true => as_std_file(fd, |file| file.set_len(end as u64)),
        false => Ok(()),
    }
}
