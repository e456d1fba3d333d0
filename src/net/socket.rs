//! A TCP socket that is not connected yet.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::connect::{connect, open};
use super::listener::TcpListener;
use super::options;
use super::stream::TcpStream;
use crate::handle::IoHandle;
use crate::io::{methods, User};
use crate::op::{Interest, Socket};
use crate::sys::socket::Domain;

/// A TCP socket before it is connected or listens, to set options on.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::TcpSocket;
/// let socket = TcpSocket::new_v4().await?;
/// socket.set_reuseport(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
/// # drop(listener); Ok(()) }) }
/// ```
pub struct TcpSocket {
    user: User,
}

impl TcpSocket {
    /// A socket for IPv4.
    pub async fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::of(Domain::IPV4).await
    }

    /// A socket for IPv6.
    pub async fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::of(Domain::IPV6).await
    }

    async fn of(domain: Domain) -> io::Result<TcpSocket> {
        Ok(TcpSocket { user: User::new(open(Socket::stream(domain)).await?) })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
    }

    /// Whether the address may be bound although connections of an earlier listener linger on it
    /// (`SO_REUSEADDR`).
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn reuseaddr(&self) -> io::Result<bool> {
        options::with(self.handle(), |socket| socket.reuse_address())
    }

    /// Sets whether the address may be bound although connections of an earlier listener linger on it.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.set_reuse_address(on))
    }

    /// Whether several sockets of this user may be bound to the same address (`SO_REUSEPORT`; on FreeBSD
    /// `SO_REUSEPORT_LB`).
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn reuseport(&self) -> io::Result<bool> {
        options::with(self.handle(), |socket| socket.shares_port())
    }

    /// Sets whether several sockets of this user may be bound to the same address, among which the kernel
    /// spreads connections. macOS, OpenBSD and NetBSD give all connections to one of them.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn set_reuseport(&self, on: bool) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.share_port(on))
    }

    /// Gives the socket an address of its own.
    ///
    /// # Errors
    /// Those of bind(2), above all `AddrInUse`; [`Closed`](crate::Closed).
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        options::with(self.handle(), |socket| socket.bind(&address.into()))
    }

    /// The socket's own address.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(self.handle())
    }

    /// Lets the socket listen; `backlog` connections may wait to be accepted.
    ///
    /// # Errors
    /// Those of listen(2); [`Closed`](crate::Closed).
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        options::with(self.handle(), |socket| socket.listen(backlog))?;
        Ok(TcpListener::of(self.handle().core.clone(), self.handle().take_fd()?))
    }

    /// When `connect` fails with `TimedOut`; `None` for never. It may be moved while it waits.
    pub fn set_connect_deadline(&self, at: Option<Instant>) {
        self.handle().set_deadline(Interest::Writable, at);
    }

    /// Connects. Dropping the future ends the attempt; a connection that comes about all the same is
    /// closed with the socket.
    ///
    /// # Errors
    /// Those of connect(2); `TimedOut` after the deadline; [`Closed`](crate::Closed).
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        connect(self.handle(), address.into()).await?;
        self.set_connect_deadline(None);
        Ok(TcpStream::from_user(self.user.share()))
    }

    methods::close_methods!("socket");
    options::tcp_options!();
    options::connection_options!();
    options::ip_options!();
    options::socket_options!();
}

methods::descriptor_traits!(TcpSocket);
