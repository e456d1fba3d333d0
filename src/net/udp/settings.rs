//! What can be set on a UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::UdpSocket;
use crate::net::options;
use crate::sys::Socket;

impl UdpSocket {
    fn with<R>(&self, call: impl FnOnce(Socket<'_>) -> io::Result<R>) -> io::Result<R> {
        options::with(self.handle(), call)
    }

    /// Whether the kernel puts datagrams of one sender that follow each other together (`UDP_GRO`).
    ///
    /// # Errors
    /// As for [`set_gro`](UdpSocket::set_gro).
    pub fn gro(&self) -> io::Result<bool> {
        self.with(|socket| socket.gro())
    }

    /// Lets the kernel put datagrams of one sender that follow each other together (`UDP_GRO`, Linux
    /// 5.0): [`Received::segment`](super::Received) tells how long each was. A receive into a buffer
    /// of your own needs room for 64 KiB then.
    ///
    /// # Errors
    /// Those of setsockopt(2): ENOPROTOOPT where the kernel does not know it, as on all systems but
    /// Linux.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_gro(on))
    }

    /// Whether each datagram tells its congestion notification.
    ///
    /// # Errors
    /// As for [`set_recv_ecn`](UdpSocket::set_recv_ecn).
    pub fn recv_ecn(&self) -> io::Result<bool> {
        self.with(|socket| socket.recv_ecn())
    }

    /// Lets each datagram tell its congestion notification (`IP_RECVTOS`, `IPV6_RECVTCLASS`).
    ///
    /// # Errors
    /// Those of setsockopt(2): ENOPROTOOPT for a socket of IPv4 on NetBSD and OpenBSD.
    pub fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_recv_ecn(on))
    }

    /// Whether each datagram tells which address it was sent to.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn recv_pktinfo(&self) -> io::Result<bool> {
        self.with(|socket| socket.recv_pktinfo())
    }

    /// Lets each datagram tell which address it was sent to, and which interface it came in by
    /// (`IP_PKTINFO`, or `IP_RECVDSTADDR` and `IP_RECVIF`; `IPV6_RECVPKTINFO`).
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn set_recv_pktinfo(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_recv_pktinfo(on))
    }

    /// Whether datagrams may go to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn broadcast(&self) -> io::Result<bool> {
        self.with(|socket| socket.broadcast())
    }

    /// Sets whether datagrams may go to broadcast addresses; without, sending to one fails with
    /// `PermissionDenied`.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_broadcast(on))
    }

    /// Receives what is sent to a multicast group too, by the interface with this number; 0 lets the
    /// kernel choose.
    ///
    /// # Errors
    /// Those of setsockopt(2): EINVAL for an address that is no multicast group.
    pub fn join_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        self.with(|socket| socket.join_multicast(group, interface))
    }

    /// The end of [`join_multicast`](UdpSocket::join_multicast).
    ///
    /// # Errors
    /// Those of setsockopt(2): EADDRNOTAVAIL if the socket has not joined the group.
    pub fn leave_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        self.with(|socket| socket.leave_multicast(group, interface))
    }

    /// Whether what is sent to a group comes to members on this machine too (`IP_MULTICAST_LOOP`,
    /// `IPV6_MULTICAST_LOOP`); it does by default.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn multicast_loop(&self) -> io::Result<bool> {
        self.with(|socket| socket.multicast_loop())
    }

    /// Sets whether what is sent to a group comes to members on this machine too.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_loop(on))
    }

    /// How many hops what is sent to a group may take (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`); 1 by
    /// default, which passes no router.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn multicast_ttl(&self) -> io::Result<u32> {
        self.with(|socket| socket.multicast_ttl())
    }

    /// Sets how many hops what is sent to a group may take: up to 255.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed); EINVAL for more.
    pub fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_ttl(hops))
    }

    /// The interface by which an IPv6 socket sends to groups, by number (`IPV6_MULTICAST_IF`); 0 if
    /// the kernel chooses.
    ///
    /// # Errors
    /// Those of getsockopt(2), for a socket of IPv4 above all; [`Closed`](crate::Closed).
    pub fn multicast_if_v6(&self) -> io::Result<u32> {
        self.with(|socket| socket.multicast_if_v6())
    }

    /// Sets the interface by which an IPv6 socket sends to groups, by number; 0 lets the kernel choose.
    ///
    /// # Errors
    /// Those of setsockopt(2): ENODEV if there is none with this number; [`Closed`](crate::Closed).
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_if_v6(interface))
    }

    /// The interface by which an IPv4 socket sends to groups, by its address (`IP_MULTICAST_IF`);
    /// unspecified if the kernel chooses.
    ///
    /// # Errors
    /// Those of getsockopt(2); [`Closed`](crate::Closed).
    pub fn multicast_if_v4(&self) -> io::Result<Ipv4Addr> {
        self.with(|socket| socket.multicast_if_v4())
    }

    /// Sets the interface by which an IPv4 socket sends to groups, by its address.
    ///
    /// # Errors
    /// Those of setsockopt(2): EADDRNOTAVAIL if no interface has it; [`Closed`](crate::Closed).
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.with(|socket| socket.set_multicast_if_v4(interface))
    }
}
