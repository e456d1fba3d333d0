//! A TCP socket that is not connected yet.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Instant;

use socket2::{Domain, SockAddr, SockRef};

use super::{TcpListener, TcpStream};
use crate::handle::permit::{acquire, perform};
use crate::handle::IoHandle;
use crate::handle::Submission;
use crate::handle::{close, Handle};
use crate::op::{Connect, Interest, Socket};
use crate::runtime::Core;
use crate::sys;

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
    handle: Rc<IoHandle>,
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

    pub(super) async fn of(domain: Domain) -> io::Result<TcpSocket> {
        let core = Core::current();
        let fd = Submission::new(core.clone(), Socket::stream(domain)).await?;
        Ok(TcpSocket { handle: Handle::new(core, fd) })
    }

    /// Whether the address may be bound although connections of an earlier listener linger on it
    /// (`SO_REUSEADDR`).
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        self.with(|socket| socket.set_reuse_address(on))
    }

    /// Whether several sockets of this user may be bound to the same address, among which the kernel
    /// spreads connections (`SO_REUSEPORT`; on FreeBSD `SO_REUSEPORT_LB`). macOS, OpenBSD and NetBSD
    /// give all connections to one of them.
    pub fn set_reuseport(&self, on: bool) -> io::Result<()> {
        self.with(|socket| sys::share_port(&socket, on))
    }

    /// Gives the socket an address of its own.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.with(|socket| socket.bind(&address.into()))
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        super::options::local_addr(&self.handle)
    }

    /// Lets the socket listen; `backlog` connections may wait to be accepted.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        self.with(|socket| socket.listen(backlog))?;
        Ok(TcpListener::of(self.handle.core.clone(), self.handle.take_fd()?))
    }

    /// When `connect` fails with `TimedOut`; `None` for never. It may be moved while it waits.
    pub fn set_connect_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Writable, at);
    }

    /// Connects. Dropping the future ends the attempt; a connection that comes about all the same is
    /// closed with the socket.
    ///
    /// # Errors
    /// Those of connect(2); `TimedOut` after the deadline; [`Closed`](crate::Closed).
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let permit = acquire(&self.handle, Interest::Writable).await?;
        let address = SockAddr::from(address);
        let op = Connect::new(permit, address);
        drop(perform(&self.handle, Interest::Writable, op).await?);
        self.handle.set_deadline(Interest::Writable, None);
        self.handle.add_user();
        Ok(TcpStream::from_handle(self.handle.clone()))
    }

    /// Calls `call` with the descriptor, for what has no method here: an option, say, with socket2.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle.with_fd(call)
    }

    /// Closes the socket; a `connect` that waits fails with [`Closed`](crate::Closed).
    pub async fn close(&self) -> io::Result<()> {
        close(&self.handle).await
    }

    fn with<R>(&self, call: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        super::options::with(&self.handle, call)
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpSocket").field("fd", &self.handle.fd()).finish()
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
