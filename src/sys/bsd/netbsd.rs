//! What NetBSD has in a form of its own: the list of `freebsd.rs`.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use super::get_option;
pub(crate) use super::unallocated::*;
pub(crate) use super::unpinned::*;

/// The level of the options of local sockets.
const SOL_LOCAL: libc::c_int = 0;

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
    let who: libc::unpcbid = unsafe { get_option(fd, SOL_LOCAL, libc::LOCAL_PEEREID) }?;
    Ok((who.unp_pid, who.unp_euid, who.unp_egid))
}

/// The flag of open(2) for a file that is not to be cached.
pub(crate) const DIRECT: Option<libc::c_int> = Some(libc::O_DIRECT);

/// Lets a file that was opened so not be cached, which it is not.
pub(crate) fn pass_cache(_file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}
