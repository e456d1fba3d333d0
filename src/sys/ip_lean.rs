//! What NetBSD and OpenBSD have of the list of `ip.rs`, and what does for the rest.

use std::io;
use std::net::Ipv4Addr;

use super::flag::{get_flag, set_flag};
use super::{interface, Control};

/// Lets each datagram tell its congestion notification (`IPV6_RECVTCLASS`). Those of IPv4 do not
/// (ENOPROTOOPT).
pub(crate) fn set_recv_ecn(socket: &socket2::Socket, v6: bool, on: bool) -> io::Result<()> {
    match v6 {
        true => set_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, on),
        false => Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT)),
    }
}

/// Whether they do.
pub(crate) fn recv_ecn(socket: &socket2::Socket, v6: bool) -> io::Result<bool> {
    match v6 {
        true => get_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        false => Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT)),
    }
}

/// No control message of IPv4 tells of congestion.
pub(crate) fn ecn_v4(_kind: libc::c_int, _data: &[u8]) -> Option<u8> {
    None
}

/// A datagram of IPv4 goes out unmarked: one cannot be marked without all others of its socket.
pub(crate) fn push_ecn_v4(_control: &mut Control, _bits: u8) {}

/// Joins a group, by the interface with this number; 0 lets the kernel choose.
pub(crate) fn join_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    socket.join_multicast_v4(group, &interface::address_v4(interface)?)
}

/// The end of `join_multicast_v4`.
pub(crate) fn leave_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    socket.leave_multicast_v4(group, &interface::address_v4(interface)?)
}
