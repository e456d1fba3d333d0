//! Options of IPv4 sockets that Linux, FreeBSD and Apple's systems have, and NetBSD and OpenBSD lack:
//! `ip_lean.rs` is the same list for those.

use std::io;
use std::net::Ipv4Addr;

#[cfg(not(target_os = "linux"))]
use libc::IP_RECVTOS as TOLD;
#[cfg(target_os = "linux")]
use libc::IP_TOS as TOLD;
use socket2::InterfaceIndexOrAddress;

use super::Control;

/// What carries the class of service of a datagram that is sent.
#[cfg(target_os = "freebsd")]
type Class = u8;
#[cfg(not(target_os = "freebsd"))]
type Class = libc::c_int;

/// Lets each datagram tell its congestion notification (`IP_RECVTOS`, `IPV6_RECVTCLASS`).
pub(crate) fn set_recv_ecn(socket: &socket2::Socket, v6: bool, on: bool) -> io::Result<()> {
    if v6 {
        socket.set_recv_tclass_v6(on)?;
    }
    // On a socket of IPv6 this is for those datagrams of IPv4 that it takes too, if it does.
    match socket.set_recv_tos_v4(on) {
        Err(_) if v6 => Ok(()),
        other => other,
    }
}

/// Whether they do.
pub(crate) fn recv_ecn(socket: &socket2::Socket, v6: bool) -> io::Result<bool> {
    match v6 {
        true => socket.recv_tclass_v6(),
        false => socket.recv_tos_v4(),
    }
}

/// What a control message of IPv4 tells of congestion: two bits.
pub(crate) fn ecn_v4(kind: libc::c_int, data: &[u8]) -> Option<u8> {
    data.first().filter(|_| kind == TOLD).map(|class| class & 0b11)
}

/// Lets a datagram of IPv4 go out with these two bits.
pub(crate) fn push_ecn_v4(control: &mut Control, bits: u8) {
    control.push(libc::IPPROTO_IP, libc::IP_TOS, &Class::from(bits).to_ne_bytes());
}

/// Joins a group, by the interface with this number; 0 lets the kernel choose.
pub(crate) fn join_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(interface))
}

/// The end of `join_multicast_v4`.
pub(crate) fn leave_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    socket.leave_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(interface))
}
