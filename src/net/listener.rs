//! A TCP listener.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::acceptor::Acceptor;
use super::connect::{bind, open};
use super::handoff::{sealed::Sealed, Carried, HandOver, Handoff};
use super::options;
use super::ports::{self, Protocol, Sharing};
use super::resolve::{resolve, ToSocketAddrs};
use super::stream::TcpStream;
use crate::handle::accept::{Listening, BACKLOG};
use crate::io::methods;
use crate::op::Socket;
use crate::runtime::Core;
use crate::sys::errno;
use crate::sys::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::socket::Domain;

/// Accepts TCP connections.
///
/// Dropping the future of an accept loses no connection: one that comes all the same is given to the
/// next accept.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// let listener = ringpark::net::TcpListener::bind("127.0.0.1:8080").await?;
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     ringpark::spawn(async move {
///         println!("{peer} has connected");
///         stream.write_all("hello\n").await.0
///     });
/// }
/// # }) }
/// ```
pub struct TcpListener {
    acceptor: Acceptor,
}

impl TcpListener {
    /// Listens on an address, with `SO_REUSEADDR`; of several addresses, on the first that can be
    /// had. In a runtime of several cores ([`Builder::run`](crate::Builder::run)) the cores that bind
    /// the same address share its port; [`Builder::accept`](crate::Builder::accept) says who decides
    /// which core gets a connection. An address that somebody else listens on is in use.
    ///
    /// # Errors
    /// Those of bind(2) and listen(2), above all `AddrInUse`; those of name resolution.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut last = None;
        for address in resolve(address).await? {
            match TcpListener::bind_one(address).await {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a name resolves to one address at least"))
    }

    async fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
        let handle = open(Socket::stream(Domain::for_address(address))).await?;
        let listen = |sharing| {
            options::with(&handle, |socket| {
                socket.set_reuse_address(true)?;
                bind(&socket, address, sharing)?;
                socket.listen(BACKLOG)
            })?;
            handle.take_fd()
        };
        let core = Core::current();
        if ports::is_dispatched(&core, address) {
            let seated = ports::sit(&core, address, || listen(Sharing::No))?;
            return Ok(TcpListener { acceptor: Acceptor::seated(core, seated) });
        }
        let fd = ports::bind_shared(&core, Protocol::Tcp, address, listen)?;
        Ok(TcpListener::of(core, fd))
    }

    /// Takes a listener over, made by std or handed in by somebody else. Where one acceptor serves
    /// all cores, the first of several listeners on one address is taken and the others are closed.
    ///
    /// # Errors
    /// Of ioctl(2) and getsockname(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let core = Core::current();
        let acceptor = match ports::take_seat(&core, listener.as_fd())? {
            Some(seated) => Acceptor::seated(core, seated),
            None => Acceptor::new(core, listener.into()),
        };
        Ok(TcpListener { acceptor })
    }

    /// A non-blocking socket that listens already.
    pub(super) fn of(core: Rc<Core>, fd: OwnedFd) -> TcpListener {
        TcpListener { acceptor: Acceptor::new(core, fd) }
    }

    fn handle(&self) -> &Listening {
        self.acceptor.handle()
    }

    /// The next connection, and the address that it comes from. Connections that were given up
    /// before they were accepted are passed over. When descriptors run out, a warning is logged,
    /// connections wait in the kernel, and accepting goes on as soon as there are some.
    ///
    /// The address takes a system call: [`accept_stream`](TcpListener::accept_stream) does without.
    ///
    /// # Errors
    /// `TimedOut` after the deadline; [`Closed`](crate::Closed); what is wrong with the listener
    /// itself.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let stream = self.accept_stream().await?;
            match stream.peer_addr() {
                Ok(address) => return Ok((stream, address)),
                // Reset before it could be accepted: it is passed over like any aborted one.
                Err(error) if error.raw_os_error() == Some(errno::ENOTCONN) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The same without the address, for those who do not need it, or only now and then: the stream
    /// tells it later ([`peer_addr`](TcpStream::peer_addr)), for as long as it is connected.
    ///
    /// Nobody asks here whether the connection still is: one that was reset before it was accepted may
    /// be given too, and its first operation fails.
    ///
    /// # Errors
    /// As for [`accept`](TcpListener::accept).
    pub async fn accept_stream(&self) -> io::Result<TcpStream> {
        Ok(TcpStream::from_handle(self.acceptor.accept().await?))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(self.handle())
    }

    /// When accepts fail with `TimedOut`; `None` for never. It may be moved while one waits.
    pub fn set_accept_deadline(&self, at: Option<Instant>) {
        self.acceptor.set_accept_deadline(at);
    }

    /// Calls `call` with the descriptor, for what has no method here: an option, say, with socket2.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.acceptor.with_fd(call)
    }

    /// Takes no more connections from the kernel. [`accept`](TcpListener::accept) goes on with those
    /// that had been taken already, or that the kernel had ready, and then fails with
    /// [`Closed`](crate::Closed): so a server that stops serves everybody whom it had let in. The
    /// address stays taken until the listener is closed.
    ///
    /// Dropping the future leaves a listener that has stopped.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn stop(&self) -> io::Result<()> {
        self.acceptor.stop().await
    }

    /// Takes the listener off this core, so that another one can [adopt](Handoff::adopt) it. What
    /// earlier futures have left in flight is ended first; connections that it has accepted and given
    /// to nobody come along, and new ones wait in the kernel. Where one acceptor
    /// serves all cores the other listeners go on.
    ///
    /// Dropping the future closes the listener.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_handoff(self) -> io::Result<Handoff<TcpListener>> {
        self.acceptor.into_handoff().await
    }

    /// Gives the open listener to std, and the connections that had been accepted ahead: see
    /// [`Handoff::into_std`].
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_std(self) -> io::Result<(std::net::TcpListener, Vec<std::net::TcpStream>)> {
        self.into_handoff().await?.into_std()
    }

    /// Closes the listener. Accepts that wait fail with [`Closed`](crate::Closed), connections that
    /// nobody has accepted are reset, and when this returns the address is free.
    pub async fn close(&self) -> io::Result<()> {
        self.acceptor.close().await
    }

    options::tcp_options!();
    options::ip_options!();
    options::socket_options!();
}

impl HandOver for TcpListener {
    type Std = std::net::TcpListener;
    type Ahead = Vec<std::net::TcpStream>;
}

impl Sealed for TcpListener {
    type Unread = OwnedFd;

    fn count(_: &OwnedFd) -> usize {
        1
    }

    fn adopt(fd: OwnedFd, carried: Carried<OwnedFd>) -> TcpListener {
        let core = Core::current();
        let seated = match carried.is_stopped() {
            true => Ok(None),
            false => ports::take_seat(&core, fd.as_fd()),
        };
        let acceptor = match seated {
            Ok(Some(seated)) => Acceptor::seated(core, seated),
            Ok(None) => Acceptor::new(core, fd),
            Err(error) => {
                tracing::warn!(
                    target: "ringpark",
                    %error,
                    "a listener from another core accepts by itself and not by load"
                );
                Acceptor::new(core, fd)
            }
        };
        TcpListener { acceptor: acceptor.carrying(carried) }
    }

    /// Errors of accepting tell nothing of the connections.
    fn ahead(unread: Vec<io::Result<OwnedFd>>) -> io::Result<Vec<std::net::TcpStream>> {
        Ok(unread.into_iter().flatten().map(Into::into).collect())
    }
}

methods::descriptor_traits!(TcpListener);
