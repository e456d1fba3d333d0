//! Datagrams within a machine.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use super::{check_fds, to_raw, UnixMessage};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::handle::{message, IoHandle};
use crate::io::{methods, User};
use crate::net::connect::open;
use crate::net::options;
use crate::op::{Envelope, Socket};
use crate::sys::fd::OwnedFd;
use crate::sys::socket::Domain;

/// A Unix socket for datagrams, which are never lost, reordered or merged: a sender waits while the
/// other side's queue is full.
///
/// Dropping the future of a receive loses nothing: a datagram that comes for it is given to the next
/// one. Dropping the future of a send leaves open whether it went out.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::UnixDatagram;
/// let (one, other) = UnixDatagram::pair()?;
/// one.send("a datagram").await.0?;
/// let (len, buffer) = other.recv(Vec::with_capacity(64)).await;
/// assert_eq!(&buffer[..len?], b"a datagram");
/// # Ok(()) }) }
/// ```
pub struct UnixDatagram {
    user: User,
}

impl UnixDatagram {
    /// A socket at a path, where nothing may be yet.
    ///
    /// # Errors
    /// Those of bind(2), above all `AddrInUse`.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// A socket with an address, which may be one of Linux's abstract ones.
    ///
    /// # Errors
    /// As for [`bind`](UnixDatagram::bind).
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let address = to_raw(address)?;
        let socket = UnixDatagram::unbound().await?;
        options::with(socket.handle(), |socket| socket.bind(&address))?;
        Ok(socket)
    }

    /// A socket without an address: it can send, and nobody can answer.
    ///
    /// # Errors
    /// Those of socket(2).
    pub async fn unbound() -> io::Result<UnixDatagram> {
        let handle = open(Socket::datagram(Domain::UNIX)).await?;
        Ok(UnixDatagram { user: User::new(handle) })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// Those of socketpair(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Takes a socket over from std.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { user: User::take_over(socket.into())? })
    }

    /// Sets where [`send`](UnixDatagram::send) sends to. From then on only what comes from there is
    /// received.
    ///
    /// # Errors
    /// Those of connect(2).
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same for an address of any kind.
    ///
    /// # Errors
    /// Those of connect(2).
    pub async fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        super::connect(self.handle(), address).await
    }

    /// Sends a datagram to where the socket is connected. Waits while the queue there is full.
    ///
    /// # Errors
    /// Those of send(2), above all `ConnectionRefused` and `NotConnected`; `TimedOut` after the write
    /// deadline; [`Closed`](crate::Closed).
    pub async fn send<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        message::send(self.handle(), buffer, Envelope::local(None)).await
    }

    /// Sends a datagram to the socket at a path. While the queue there is full this tries again and
    /// again, at growing intervals up to 10 ms, as the kernel tells nobody when it is not.
    ///
    /// # Errors
    /// As for [`send`](UnixDatagram::send); `NotFound` if there is no such path.
    pub async fn send_to<B: IoBuf>(
        &self,
        buffer: B,
        path: impl AsRef<Path>,
    ) -> BufResult<usize, B> {
        match SocketAddr::from_pathname(path) {
            Ok(address) => self.send_to_addr(buffer, &address).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// The same for an address of any kind.
    ///
    /// # Errors
    /// As for [`send_to`](UnixDatagram::send_to).
    pub async fn send_to_addr<B: IoBuf>(
        &self,
        buffer: B,
        address: &SocketAddr,
    ) -> BufResult<usize, B> {
        match to_raw(address) {
            Ok(to) => message::send(self.handle(), buffer, Envelope::local(Some(to))).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// Sends a datagram to where the socket is connected, and descriptors with it (`SCM_RIGHTS`), 253
    /// at most. The other side gets descriptors of its own; these are closed when they have gone,
    /// or when sending fails.
    ///
    /// # Errors
    /// As for [`send`](UnixDatagram::send); `InvalidInput` with too many descriptors.
    pub async fn send_fds<B: IoBuf>(&self, buffer: B, fds: Vec<OwnedFd>) -> BufResult<usize, B> {
        match check_fds(&fds) {
            Ok(()) => {
                message::send(self.handle(), buffer, Envelope::local(None).with_fds(fds)).await
            }
            Err(error) => (Err(error), buffer),
        }
    }

    /// Receives a datagram into the buffer's room: how many bytes there are now. What has no room is
    /// lost, and so are descriptors that came along; [`recv_msg`](UnixDatagram::recv_msg) tells.
    ///
    /// # Errors
    /// Those of recv(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn recv<B: IoBufMut>(&self, buffer: B) -> BufResult<usize, B> {
        let (received, buffer) = self.recv_msg(buffer).await;
        (received.map(|message| message.len), buffer)
    }

    /// The same, and where it comes from; `None` if that has no address.
    ///
    /// # Errors
    /// As for [`recv`](UnixDatagram::recv).
    pub async fn recv_from<B: IoBufMut>(
        &self,
        buffer: B,
    ) -> BufResult<(usize, Option<SocketAddr>), B> {
        let (received, buffer) = self.recv_msg(buffer).await;
        (received.map(|message| (message.len, message.from)), buffer)
    }

    /// Receives a datagram, and all that came with it.
    ///
    /// # Errors
    /// As for [`recv`](UnixDatagram::recv).
    pub async fn recv_msg<B: IoBufMut>(&self, buffer: B) -> BufResult<UnixMessage, B> {
        let (received, buffer) = message::recv_datagram(self.handle(), buffer).await;
        (received.map(UnixMessage::new), buffer)
    }

    /// The address of this side.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        super::local_addr(self.handle())
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected`; [`Closed`](crate::Closed).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        super::peer_addr(self.handle())
    }

    methods::readable_methods!("socket");
    methods::writable_methods!("socket");
    methods::deadline_methods!();
    methods::close_methods!("socket");
    options::socket_options!();
}

methods::descriptor_traits!(UnixDatagram);
