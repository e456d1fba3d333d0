//! What can be set on a UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use socket2::SockRef;

use super::UdpSocket;
use crate::net::options;
use crate::sys;

impl UdpSocket {
    pub(super) fn with<R>(&self, call: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        options::with(self.handle(), call)
    }

    /// Lets the kernel put datagrams of one sender that follow each other together (`UDP_GRO`, Linux
    /// 5.0): [`Received::segment`](super::Received) tells how long each was. A receive into a buffer
    /// of your own needs room for 64 KiB then.
    ///
    /// # Errors
    /// Those of setsockopt(2): ENOPROTOOPT where the kernel does not know it, as on all systems but
    /// Linux.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.with(|socket| sys::set_udp_gro(&socket, on))
    }

    /// Lets each datagram tell its congestion notification (`IP_RECVTOS`, `IPV6_RECVTCLASS`).
    ///
    /// # Errors
    /// Those of setsockopt(2): ENOPROTOOPT for a socket of IPv4 on NetBSD and OpenBSD.
    pub fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        self.with(|socket| sys::set_recv_ecn(&socket, self.v6, on))
    }

    /// Lets each datagram tell which address it was sent to, and which interface it came in by
    /// (`IP_PKTINFO`, or `IP_RECVDSTADDR` and `IP_RECVIF`; `IPV6_RECVPKTINFO`).
    pub fn set_recv_pktinfo(&self, on: bool) -> io::Result<()> {
        self.with(|socket| sys::set_recv_pktinfo(&socket, self.v6, on))
    }

    /// Whether datagrams may go to broadcast addresses (`SO_BROADCAST`).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_broadcast(on))
    }

    /// The hop limit of what is sent (`IP_TTL`, or `IPV6_UNICAST_HOPS`).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.with(|socket| match self.v6 {
            true => socket.set_unicast_hops_v6(hops),
            false => socket.set_ttl_v4(hops),
        })
    }

    /// How many bytes may wait to be received (`SO_RCVBUF`; the kernel doubles it, up to
    /// `net.core.rmem_max`).
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.with(|socket| socket.set_recv_buffer_size(bytes))
    }

    /// How many bytes may wait to be sent (`SO_SNDBUF`).
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.with(|socket| socket.set_send_buffer_size(bytes))
    }

    /// Receives what is sent to a multicast group too, by the interface with this number; 0 lets the
    /// kernel choose.
    ///
    /// # Errors
    /// Those of setsockopt(2): EINVAL for an address that is no multicast group.
    pub fn join_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        self.with(|socket| match group {
            IpAddr::V4(group) => sys::join_multicast_v4(&socket, &group, interface),
            IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
        })
    }

    /// The end of [`join_multicast`](UdpSocket::join_multicast).
    pub fn leave_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        self.with(|socket| match group {
            IpAddr::V4(group) => sys::leave_multicast_v4(&socket, &group, interface),
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
        })
    }

    /// Whether what is sent to a group comes to members on this machine too; it does by default.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.with(|socket| match self.v6 {
            true => socket.set_multicast_loop_v6(on),
            false => socket.set_multicast_loop_v4(on),
        })
    }

    /// How many routers what is sent to a group may pass; 1 by default, which is none.
    pub fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        self.with(|socket| match self.v6 {
            true => socket.set_multicast_hops_v6(hops),
            false => socket.set_multicast_ttl_v4(hops),
        })
    }

    /// The interface by which an IPv6 socket sends to groups, by number; 0 lets the kernel choose.
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_if_v6(interface))
    }

    /// The interface by which an IPv4 socket sends to groups, by its address.
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_if_v4(&interface))
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.with(|socket| socket.take_error())
    }
}
