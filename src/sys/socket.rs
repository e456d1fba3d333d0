//! The control of sockets: their addresses, options and states. This is the one place that asks
//! socket2 for them, or names them; what each system has in a form of its own is in its own file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::SockRef;
pub(crate) use socket2::{Domain, SockAddr, Type};

use super::flag::{get_flag, set_flag};
use super::{destination, ip, keepalive, system};

/// A socket that is asked or told something.
pub(crate) struct Socket<'a>(SockRef<'a>);

impl<'a> Socket<'a> {
    pub(crate) fn new(fd: &'a BorrowedFd<'_>) -> Socket<'a> {
        Socket(SockRef::from(fd))
    }

    pub(crate) fn bind(&self, address: &SockAddr) -> io::Result<()> {
        self.0.bind(address)
    }

    /// Lets it listen; `backlog` connections may wait.
    pub(crate) fn listen(&self, backlog: u32) -> io::Result<()> {
        self.0.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SockAddr> {
        self.0.local_addr()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SockAddr> {
        self.0.peer_addr()
    }

    pub(crate) fn kind(&self) -> io::Result<Type> {
        self.0.r#type()
    }

    /// Whether it listens; `None` on macOS, which cannot tell.
    pub(crate) fn is_listener(&self) -> io::Result<Option<bool>> {
        match cfg!(target_vendor = "apple") {
            true => Ok(None),
            false => get_flag(&*self.0, libc::SOL_SOCKET, libc::SO_ACCEPTCONN).map(Some),
        }
    }

    /// Shuts writing down, at once.
    pub(crate) fn shut_write(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Who made the other end of a local connection: process, user, group.
    pub(crate) fn peer_credentials(&self) -> io::Result<(i32, u32, u32)> {
        system::peer_credentials(self.0.as_raw_fd())
    }

    /// The pending error, which is none then.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// Whether it is of IPv6, and so takes the options of both families.
    fn is_v6(&self) -> io::Result<bool> {
        Ok(self.local_addr()?.is_ipv6())
    }

    /// Asks a socket of IPv6 with `six`, one of IPv4 with `four`.
    fn by_family<T>(
        &self,
        six: impl FnOnce(&socket2::Socket) -> io::Result<T>,
        four: impl FnOnce(&socket2::Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.is_v6()? {
            true => six(&self.0),
            false => four(&self.0),
        }
    }

    /// Sets an option that each family has for itself. What a socket of IPv6 sends may be of IPv4 too,
    /// so it is told both, where it takes both.
    fn set_in_both(
        &self,
        six: impl FnOnce(&socket2::Socket) -> io::Result<()>,
        four: impl FnOnce(&socket2::Socket) -> io::Result<()>,
    ) -> io::Result<()> {
        let is_v6 = self.is_v6()?;
        if is_v6 {
            six(&self.0)?;
        }
        match four(&self.0) {
            Err(_) if is_v6 => Ok(()),
            other => other,
        }
    }
}

/// Sockets of every kind.
impl Socket<'_> {
    pub(crate) fn recv_buffer_size(&self) -> io::Result<usize> {
        self.0.recv_buffer_size()
    }

    pub(crate) fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.set_recv_buffer_size(bytes)
    }

    pub(crate) fn send_buffer_size(&self) -> io::Result<usize> {
        self.0.send_buffer_size()
    }

    pub(crate) fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.set_send_buffer_size(bytes)
    }

    pub(crate) fn reuse_address(&self) -> io::Result<bool> {
        self.0.reuse_address()
    }

    pub(crate) fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        self.0.set_reuse_address(on)
    }

    /// Whether several sockets of this user may be bound to the same address.
    pub(crate) fn shares_port(&self) -> io::Result<bool> {
        system::shares_port(&self.0)
    }

    pub(crate) fn share_port(&self, on: bool) -> io::Result<()> {
        system::share_port(&self.0, on)
    }
}

/// Sockets of IP.
impl Socket<'_> {
    pub(crate) fn ttl(&self) -> io::Result<u32> {
        self.by_family(|six| six.unicast_hops_v6(), |four| four.ttl_v4())
    }

    pub(crate) fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.set_in_both(|six| six.set_unicast_hops_v6(hops), |four| four.set_ttl_v4(hops))
    }

    pub(crate) fn tos(&self) -> io::Result<u32> {
        self.by_family(|six| six.tclass_v6(), |four| four.tos_v4())
    }

    pub(crate) fn set_tos(&self, class: u32) -> io::Result<()> {
        self.set_in_both(|six| six.set_tclass_v6(class), |four| four.set_tos_v4(class))
    }
}

/// Sockets of TCP.
impl Socket<'_> {
    pub(crate) fn nodelay(&self) -> io::Result<bool> {
        self.0.tcp_nodelay()
    }

    pub(crate) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.set_tcp_nodelay(on)
    }

    pub(crate) fn quickack(&self) -> io::Result<bool> {
        system::quickack(&self.0)
    }

    pub(crate) fn set_quickack(&self, on: bool) -> io::Result<()> {
        system::set_quickack(&self.0, on)
    }

    pub(crate) fn zero_linger(&self) -> io::Result<bool> {
        Ok(self.0.linger()? == Some(Duration::ZERO))
    }

    pub(crate) fn set_zero_linger(&self, on: bool) -> io::Result<()> {
        self.0.set_linger(on.then_some(Duration::ZERO))
    }

    pub(crate) fn keepalive(&self) -> io::Result<bool> {
        self.0.keepalive()
    }

    pub(crate) fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.0.set_keepalive(on)
    }

    pub(crate) fn keepalive_time(&self) -> io::Result<Duration> {
        keepalive::time(&self.0)
    }

    pub(crate) fn set_keepalive_time(&self, time: Duration) -> io::Result<()> {
        keepalive::set_time(&self.0, time)
    }

    pub(crate) fn keepalive_interval(&self) -> io::Result<Duration> {
        keepalive::interval(&self.0)
    }

    pub(crate) fn set_keepalive_interval(&self, time: Duration) -> io::Result<()> {
        keepalive::set_interval(&self.0, time)
    }

    pub(crate) fn keepalive_retries(&self) -> io::Result<u32> {
        keepalive::retries(&self.0)
    }

    pub(crate) fn set_keepalive_retries(&self, count: u32) -> io::Result<()> {
        keepalive::set_retries(&self.0, count)
    }
}

/// Sockets of UDP.
impl Socket<'_> {
    pub(crate) fn gro(&self) -> io::Result<bool> {
        system::udp_gro(&self.0)
    }

    pub(crate) fn set_gro(&self, on: bool) -> io::Result<()> {
        system::set_udp_gro(&self.0, on)
    }

    pub(crate) fn recv_ecn(&self) -> io::Result<bool> {
        ip::recv_ecn(&self.0, self.is_v6()?)
    }

    pub(crate) fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        ip::set_recv_ecn(&self.0, self.is_v6()?, on)
    }

    pub(crate) fn recv_pktinfo(&self) -> io::Result<bool> {
        self.by_family(
            |six| get_flag(six, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            destination::recv_destination_v4,
        )
    }

    /// Lets datagrams tell where they were sent to.
    pub(crate) fn set_recv_pktinfo(&self, on: bool) -> io::Result<()> {
        self.by_family(
            |six| set_flag(six, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, on),
            |four| destination::set_recv_destination_v4(four, on),
        )
    }

    pub(crate) fn broadcast(&self) -> io::Result<bool> {
        self.0.broadcast()
    }

    pub(crate) fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.0.set_broadcast(on)
    }

    pub(crate) fn join_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => ip::join_multicast_v4(&self.0, &group, interface),
            IpAddr::V6(group) => self.0.join_multicast_v6(&group, interface),
        }
    }

    pub(crate) fn leave_multicast(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => ip::leave_multicast_v4(&self.0, &group, interface),
            IpAddr::V6(group) => self.0.leave_multicast_v6(&group, interface),
        }
    }

    pub(crate) fn multicast_loop(&self) -> io::Result<bool> {
        self.by_family(|six| six.multicast_loop_v6(), |four| four.multicast_loop_v4())
    }

    pub(crate) fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.by_family(|six| six.set_multicast_loop_v6(on), |four| four.set_multicast_loop_v4(on))
    }

    pub(crate) fn multicast_ttl(&self) -> io::Result<u32> {
        self.by_family(|six| six.multicast_hops_v6(), |four| four.multicast_ttl_v4())
    }

    pub(crate) fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        self.by_family(
            |six| six.set_multicast_hops_v6(hops),
            |four| four.set_multicast_ttl_v4(hops),
        )
    }

    pub(crate) fn multicast_if_v4(&self) -> io::Result<Ipv4Addr> {
        self.0.multicast_if_v4()
    }

    pub(crate) fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.0.set_multicast_if_v4(&interface)
    }

    pub(crate) fn multicast_if_v6(&self) -> io::Result<u32> {
        self.0.multicast_if_v6()
    }

    pub(crate) fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        self.0.set_multicast_if_v6(interface)
    }
}
