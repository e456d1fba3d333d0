//! A TCP connection.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connect::{connect, open};
use super::options;
use super::race::race;
use super::resolve::{resolve, ToSocketAddrs};
use super::split::{split, OwnedReadHalf, OwnedWriteHalf, Split};
use crate::handle::IoHandle;
use crate::io::{methods, Connection, User};
use crate::op::Socket;
use crate::sys::socket::Domain;
use crate::timer::clock;

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. Buffers are given to an operation
/// and come back with its result; [`recv`](TcpStream::recv) needs none.
///
/// Reading and writing are separate directions. In each, one operation is under way at a time, and
/// others wait for their turn, in order. Dropping the future of a read loses nothing: bytes that arrive
/// for it are given to the next read. Dropping the future of a write leaves open how much was written,
/// as everywhere.
///
/// Dropping the connection ends what is in flight on it, and closes it a moment later.
pub struct TcpStream {
    user: User,
}

impl TcpStream {
    pub(super) fn from_handle(handle: Rc<IoHandle>) -> TcpStream {
        TcpStream::from_user(User::new(handle))
    }

    pub(super) fn from_user(user: User) -> TcpStream {
        TcpStream { user }
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
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
            let stream = open(Socket::stream(Domain::for_address(address))).await?;
            let stream = TcpStream::from_handle(stream);
            stream.set_write_deadline(until);
            connect(stream.handle(), address.into()).await?;
            stream.set_write_deadline(None);
            Ok(stream)
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
        Ok(TcpStream { user: User::take_over(stream.into())? })
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        options::peer_addr(self.handle())
    }

    /// The address of this side.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(self.handle())
    }

    /// Two halves, for two tasks. Dropping the writing one shuts writing down.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split(self)
    }

    methods::stream_read_methods!();
    methods::readable_methods!("connection");
    methods::stream_write_methods!();
    methods::writable_methods!("connection");
    methods::shutdown_methods!();
    methods::deadline_methods!();
    methods::close_methods!("connection");
    options::tcp_options!();
    options::connection_options!();
    options::ip_options!();
    options::socket_options!();
}

impl Connection for TcpStream {
    fn user(&self) -> &User {
        &self.user
    }
}

impl Split for TcpStream {
    type Addr = SocketAddr;

    fn share(&self) -> TcpStream {
        TcpStream { user: self.user.share() }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

methods::descriptor_traits!(TcpStream);
