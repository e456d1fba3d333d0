//! What OpenBSD has in a form of its own: the list of `freebsd.rs`.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use super::get_option;
pub(crate) use super::unallocated::*;
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
    // SAFETY: plain numbers.
    let who: libc::sockpeercred = unsafe { get_option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED) }?;
    Ok((who.pid, who.uid, who.gid))
}

/// The flag of open(2) for a file that is not to be cached: all are.
pub(crate) const DIRECT: Option<libc::c_int> = None;

/// Lets a file not be cached: never called, for none is opened so.
pub(crate) fn pass_cache(_file: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
