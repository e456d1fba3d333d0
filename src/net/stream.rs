//! A TCP connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Domain;

use super::race::race;
use super::resolve::{resolve, ToSocketAddrs};
use super::{options, OwnedReadHalf, OwnedWriteHalf, SocketStream, TcpSocket};
use crate::handle::IoHandle;
use crate::timer::clock;

/// A TCP connection. Reading, writing and shutting down are those of [`SocketStream`], to which it
/// dereferences; deadlines, readiness and closing those of [`Pollable`](crate::io::Pollable).
///
/// All methods take `&self`: one task may read while another writes. Buffers are given to an operation
/// and come back with its result; [`recv`](SocketStream::recv) needs none.
pub struct TcpStream {
    stream: SocketStream,
}

impl TcpStream {
    pub(super) fn from_handle(handle: Rc<IoHandle>) -> TcpStream {
        TcpStream { stream: SocketStream::new(handle) }
    }

    /// Connects to an address; of several, to the first that answers: the families take turns, and one
    /// that has not answered in a quarter of a second has the next tried beside it (RFC 8305). A name
    /// is resolved on a helper thread. Dropping the future ends all attempts.
    ///
    /// # Errors
    /// Those of connect(2) for the last address, and those of name resolution.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::connect_until(address, None).await
    }

    /// The same within a time, which is shared out: each address that is tried gets an equal part of
    /// what is left when its turn comes.
    ///
    /// # Errors
    /// `TimedOut`, and those of [`connect`](TcpStream::connect).
    pub async fn connect_timeout(
        address: impl ToSocketAddrs,
        total: Duration,
    ) -> io::Result<TcpStream> {
        // A time beyond what the clock can tell is no limit.
        let deadline = clock::now().checked_add(total);
        let connect = TcpStream::connect_until(address, deadline);
        match deadline {
            None => connect.await,
            Some(at) => match crate::time::timeout_at(at, connect).await {
                Ok(result) => result,
                Err(_) => Err(crate::handle::timed_out()),
            },
        }
    }

    async fn connect_until(
        address: impl ToSocketAddrs,
        deadline: Option<Instant>,
    ) -> io::Result<TcpStream> {
        let addresses: Vec<_> = resolve(address).await?.collect();
        race(addresses, deadline, |address, until| async move {
            let socket = TcpSocket::of(Domain::for_address(address)).await?;
            socket.set_connect_deadline(until);
            socket.connect(address).await
        })
        .await
    }

    /// Takes a connection over from std.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream { stream: SocketStream::take_over(stream.into())? })
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        options::peer_addr(self.handle())
    }

    /// The address of this side.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(self.handle())
    }

    /// Whether small writes go out at once and are not gathered (`TCP_NODELAY`).
    pub fn nodelay(&self) -> io::Result<bool> {
        options::with(self.handle(), |socket| socket.tcp_nodelay())
    }

    /// Sets `TCP_NODELAY`. Accepted connections inherit it from their listener
    /// ([`TcpListener::set_nodelay`](crate::net::TcpListener::set_nodelay)).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.set_tcp_nodelay(on))
    }

    /// How long closing waits for unsent bytes (`SO_LINGER`). Zero resets the connection on close.
    pub fn set_linger(&self, time: Option<Duration>) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.set_linger(time))
    }

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.set_keepalive(on))
    }

    /// The hop limit of packets sent (`IP_TTL`).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.set_ttl_v4(ttl))
    }

    /// Two halves, for two tasks. Dropping the writing one shuts writing down.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        super::split::split(self)
    }
}

impl super::split::Split for TcpStream {
    fn share(&self) -> TcpStream {
        TcpStream { stream: self.stream.share() }
    }
}

impl Deref for TcpStream {
    type Target = SocketStream;

    fn deref(&self) -> &SocketStream {
        &self.stream
    }
}

impl AsRawFd for TcpStream {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("fd", &self.as_raw_fd()).finish()
    }
}
