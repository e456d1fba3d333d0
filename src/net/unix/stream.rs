//! A Unix connection.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use super::{check_fds, Credentials, UnixMessage};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::handle::{message, IoHandle};
use crate::io::{methods, Connection, User};
use crate::net::connect::open;
use crate::net::options;
use crate::net::split::{split, OwnedReadHalf, OwnedWriteHalf, Split};
use crate::op::{Envelope, Socket};
use crate::sys::fd::OwnedFd;
use crate::sys::socket::Domain;

/// A connection to a Unix socket.
///
/// All methods take `&self`: one task may read while another writes. Buffers are given to an operation
/// and come back with its result; [`recv`](UnixStream::recv) needs none. Reading and writing are
/// separate directions. In each, one operation is under way at a time, and others wait for their turn,
/// in order.
///
/// Dropping the connection ends what is in flight on it, and closes it a moment later.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::UnixStream;
/// let (one, other) = UnixStream::pair()?;
/// let file = std::fs::File::open("/dev/null")?;
/// one.send_fds("a file", vec![file.into()]).await.0?;
/// let (message, buffer) = other.recv_fds(Vec::with_capacity(64)).await;
/// let message = message?;
/// assert_eq!((&buffer[..message.len], message.fds.len()), (&b"a file"[..], 1));
/// # Ok(()) }) }
/// ```
pub struct UnixStream {
    user: User,
}

impl UnixStream {
    pub(in crate::net) fn from_handle(handle: Rc<IoHandle>) -> UnixStream {
        UnixStream { user: User::new(handle) }
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
    }

    /// Connects to the socket at a path. While the listener's queue is full this tries again and
    /// again, at growing intervals up to 10 ms. Dropping the future ends the attempt.
    ///
    /// # Errors
    /// Those of connect(2): `NotFound` if there is no such path, `ConnectionRefused` if nobody listens.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// Connects to an address, which may be one of Linux's abstract ones
    /// (`SocketAddrExt::from_abstract_name` of std makes them; see unix(7)).
    ///
    /// # Errors
    /// As for [`connect`](UnixStream::connect).
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        let stream = UnixStream::from_handle(open(Socket::stream(Domain::UNIX)).await?);
        super::connect(stream.handle(), address).await?;
        Ok(stream)
    }

    /// Two ends of one connection.
    ///
    /// # Errors
    /// Those of socketpair(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
    }

    /// Takes a connection over from std.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
        Ok(UnixStream { user: User::take_over(stream.into())? })
    }

    /// Writes all of the buffer's bytes, of which there must be one at least, with descriptors beside
    /// the first one (`SCM_RIGHTS`, see unix(7)). The other side gets descriptors of its own; these
    /// are closed when they have gone, or when sending fails. At most 253 can go.
    ///
    /// Dropping the future leaves open whether they have gone, and how many bytes.
    ///
    /// # Errors
    /// Those of sendmsg(2), and of [`write_all`](UnixStream::write_all); `InvalidInput` without
    /// bytes or with too many descriptors.
    pub async fn send_fds<B: IoBuf>(&self, buffer: B, fds: Vec<OwnedFd>) -> BufResult<(), B> {
        match check_fds(&fds) {
            Ok(()) => {
                let envelope = Envelope::default().with_fds(fds);
                message::send_beside(self.handle(), buffer, envelope).await
            }
            Err(error) => (Err(error), buffer),
        }
    }

    /// Reads some bytes into the buffer's room, and takes the descriptors that came beside them.
    /// Bytes of two messages with descriptors never come in one call. Dropping the future loses
    /// nothing.
    ///
    /// The other ways of reading take bytes only, and descriptors beside those are closed by the
    /// kernel; [`recv`](UnixStream::recv) reads ahead of the caller: do not mix it with this.
    ///
    /// # Errors
    /// Those of recvmsg(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn recv_fds<B: IoBufMut>(&self, buffer: B) -> BufResult<UnixMessage, B> {
        let (received, buffer) = message::recv_beside(self.handle(), buffer).await;
        let received = received.map(|(len, mut ancillary)| {
            ancillary.full_len = len;
            UnixMessage::new((len, ancillary))
        });
        (received, buffer)
    }

    /// Who made the other end (`SO_PEERCRED`, or what the system has instead: see unix(4)).
    ///
    /// # Errors
    /// Those of getsockopt(2); [`Closed`](crate::Closed).
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        let (pid, uid, gid) = options::with(self.handle(), |socket| socket.peer_credentials())?;
        Ok(Credentials { pid, uid, gid })
    }

    /// The address of the other side: unnamed unless it was bound.
    ///
    /// # Errors
    /// `NotConnected`; [`Closed`](crate::Closed).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        super::peer_addr(self.handle())
    }

    /// The address of this side.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        super::local_addr(self.handle())
    }

    /// Two halves, for two tasks. Dropping the writing one shuts writing down.
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        split(self)
    }

    methods::stream_read_methods!();
    methods::readable_methods!("connection");
    methods::stream_write_methods!();
    methods::writable_methods!("connection");
    methods::shutdown_methods!();
    methods::deadline_methods!();
    methods::close_methods!("connection");
    options::socket_options!();
}

impl Connection for UnixStream {
    fn user(&self) -> &User {
        &self.user
    }
}

impl Split for UnixStream {
    type Addr = SocketAddr;

    fn share(&self) -> UnixStream {
        UnixStream { user: self.user.share() }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl OwnedReadHalf<UnixStream> {
    /// Reads some bytes, and takes the descriptors that came beside them: see
    /// [`UnixStream::recv_fds`].
    ///
    /// # Errors
    /// As for the whole connection.
    pub async fn recv_fds<B: IoBufMut>(&self, buffer: B) -> BufResult<UnixMessage, B> {
        self.stream().recv_fds(buffer).await
    }
}

impl OwnedWriteHalf<UnixStream> {
    /// Writes all of the buffer's bytes, with descriptors beside the first one: see
    /// [`UnixStream::send_fds`].
    ///
    /// # Errors
    /// As for the whole connection.
    pub async fn send_fds<B: IoBuf>(&self, buffer: B, fds: Vec<OwnedFd>) -> BufResult<(), B> {
        self.stream().send_fds(buffer, fds).await
    }
}

methods::descriptor_traits!(UnixStream);
