//! What can be asked of a socket, and set: methods that several types of sockets have, each written
//! once. A macro stands in the `impl` of a type that has `fn handle(&self)`.
//!
//! | macro | options |
//! | --- | --- |
//! | `socket_options` | of every socket: the sizes of its buffers, its pending error |
//! | `ip_options` | of IP: hop limit, type of service |
//! | `tcp_options` | of TCP, which connections inherit from their listener |
//! | `connection_options` | of a TCP connection alone |

use std::io;
use std::net::SocketAddr;

use crate::handle::Handle;
use crate::sys::socket::SockAddr;
use crate::sys::Socket;

/// Calls `call` with the socket, unless it is closed.
pub(super) fn with<T: 'static, R>(
    handle: &Handle<T>,
    call: impl FnOnce(Socket<'_>) -> io::Result<R>,
) -> io::Result<R> {
    handle.with_fd(|fd| call(Socket::new(&fd)))?
}

/// The address of the socket's own end.
pub(super) fn local_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    with(handle, |socket| inet(socket.local_addr()?))
}

/// The address of the socket's other end.
pub(super) fn peer_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    with(handle, |socket| inet(socket.peer_addr()?))
}

fn inet(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("the socket is not of an IP family"))
}

/// Options of every socket.
macro_rules! socket_options {
    () => {
        /// How many bytes may wait to be received (`SO_RCVBUF`), as the kernel counts them.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn recv_buffer_size(&self) -> std::io::Result<usize> {
            $crate::net::options::with(self.handle(), |socket| socket.recv_buffer_size())
        }

        /// Sets how many bytes may wait to be received. Linux doubles the number, to count its own
        /// records too, and keeps it below `net.core.rmem_max`: see socket(7).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOBUFS on systems that refuse what is too much.
        pub fn set_recv_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_recv_buffer_size(bytes))
        }

        /// How many bytes may wait to be sent (`SO_SNDBUF`), as the kernel counts them.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn send_buffer_size(&self) -> std::io::Result<usize> {
            $crate::net::options::with(self.handle(), |socket| socket.send_buffer_size())
        }

        /// Sets how many bytes may wait to be sent. Linux doubles the number, to count its own
        /// records too, and keeps it below `net.core.wmem_max`: see socket(7).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOBUFS on systems that refuse what is too much.
        pub fn set_send_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_send_buffer_size(bytes))
        }

        /// Takes the socket's pending error (`SO_ERROR`), so that the next call does not fail with it.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            $crate::net::options::with(self.handle(), |socket| socket.take_error())
        }
    };
}

/// Options of IP.
macro_rules! ip_options {
    () => {
        /// How many routers what is sent may pass (`IP_TTL`; `IPV6_UNICAST_HOPS` on a socket of IPv6).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn ttl(&self) -> std::io::Result<u32> {
            $crate::net::options::with(self.handle(), |socket| socket.ttl())
        }

        /// Sets how many routers what is sent may pass: 1 to 255. On a socket of IPv6 that holds for
        /// what it sends by IPv4 too. See ip(7) and ipv6(7).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); EINVAL for any other number.
        pub fn set_ttl(&self, hops: u32) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_ttl(hops))
        }

        /// The type of service of what is sent (`IP_TOS`), which IPv6 calls traffic class
        /// (`IPV6_TCLASS`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn tos(&self) -> std::io::Result<u32> {
            $crate::net::options::with(self.handle(), |socket| socket.tos())
        }

        /// Sets the type of service of what is sent: the upper six bits of eight are the code point of
        /// differentiated services (RFC 2474); the lower two tell of congestion, and TCP sets them
        /// itself. On a socket of IPv6 that holds for what it sends by IPv4 too.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); EINVAL for more than eight bits on a socket of IPv6.
        pub fn set_tos(&self, class: u32) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_tos(class))
        }
    };
}

/// Options of TCP, which connections inherit from their listener.
macro_rules! tcp_options {
    () => {
        /// Whether small writes go out at once and are not gathered (`TCP_NODELAY`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn nodelay(&self) -> std::io::Result<bool> {
            $crate::net::options::with(self.handle(), |socket| socket.nodelay())
        }

        /// Sets whether small writes go out at once. Connections inherit it from their listener: one
        /// system call for all of them.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn set_nodelay(&self, on: bool) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_nodelay(on))
        }

        /// Whether an idle connection is probed, so that one finds out that its peer has gone
        /// (`SO_KEEPALIVE`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn keepalive(&self) -> std::io::Result<bool> {
            $crate::net::options::with(self.handle(), |socket| socket.keepalive())
        }

        /// Sets whether an idle connection is probed: after two hours at first, unless
        /// [`set_keepalive_time`](Self::set_keepalive_time) says otherwise. Connections inherit it
        /// from their listener, and so they do the times.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn set_keepalive(&self, on: bool) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_keepalive(on))
        }

        /// How long a connection is idle before it is probed (`TCP_KEEPIDLE`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOPROTOOPT on OpenBSD.
        pub fn keepalive_time(&self) -> std::io::Result<std::time::Duration> {
            $crate::net::options::with(self.handle(), |socket| socket.keepalive_time())
        }

        /// Has a connection probed when it has been idle for so long, in whole seconds: see tcp(7).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); EINVAL for less than a second, or more than the kernel takes
        /// (32,767 seconds on Linux); ENOPROTOOPT on OpenBSD.
        pub fn set_keepalive_time(&self, time: std::time::Duration) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_keepalive_time(time))
        }

        /// How long after a probe without an answer the next one goes out (`TCP_KEEPINTVL`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOPROTOOPT on OpenBSD.
        pub fn keepalive_interval(&self) -> std::io::Result<std::time::Duration> {
            $crate::net::options::with(self.handle(), |socket| socket.keepalive_interval())
        }

        /// Has a connection probed, and the next probe go out so long after one without an answer, in
        /// whole seconds.
        ///
        /// # Errors
        /// As for [`set_keepalive_time`](Self::set_keepalive_time).
        pub fn set_keepalive_interval(&self, time: std::time::Duration) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_keepalive_interval(time))
        }

        /// How many probes may stay without an answer before the connection is given up
        /// (`TCP_KEEPCNT`): then reads fail with `TimedOut`.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOPROTOOPT on OpenBSD.
        pub fn keepalive_retries(&self) -> std::io::Result<u32> {
            $crate::net::options::with(self.handle(), |socket| socket.keepalive_retries())
        }

        /// Has a connection probed, and given up when so many probes have stayed without an answer.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); EINVAL for none, or more than the kernel takes (127 on Linux);
        /// ENOPROTOOPT on OpenBSD.
        pub fn set_keepalive_retries(&self, count: u32) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_keepalive_retries(count))
        }
    };
}

/// Options of a TCP connection.
macro_rules! connection_options {
    () => {
        /// Whether closing resets the connection (`SO_LINGER` of zero).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn zero_linger(&self) -> std::io::Result<bool> {
            $crate::net::options::with(self.handle(), |socket| socket.zero_linger())
        }

        /// Sets whether closing resets the connection: the other side finds `ConnectionReset`, what was
        /// not sent is lost, and nothing of the connection stays behind (`TIME_WAIT`). Any other time
        /// to linger would have close(2) wait, and the core with it: to know that all has arrived,
        /// shut writing down and read to the end of the stream.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn set_zero_linger(&self, on: bool) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_zero_linger(on))
        }

        /// Whether what comes is acknowledged at once (`TCP_QUICKACK`).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOPROTOOPT on all systems but Linux.
        pub fn quickack(&self) -> std::io::Result<bool> {
            $crate::net::options::with(self.handle(), |socket| socket.quickack())
        }

        /// Has what comes acknowledged at once, or not: for now, as the kernel goes back to its own
        /// judgement by and by. See tcp(7).
        ///
        /// # Errors
        /// [`Closed`](crate::Closed); ENOPROTOOPT on all systems but Linux.
        pub fn set_quickack(&self, on: bool) -> std::io::Result<()> {
            $crate::net::options::with(self.handle(), |socket| socket.set_quickack(on))
        }
    };
}

pub(super) use connection_options;
pub(super) use ip_options;
pub(super) use socket_options;
pub(super) use tcp_options;
