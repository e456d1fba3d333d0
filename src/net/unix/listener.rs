//! A listener of Unix connections.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use super::stream::UnixStream;
use crate::handle::accept::{Listening, BACKLOG};
use crate::io::methods;
use crate::net::acceptor::Acceptor;
use crate::net::connect::open;
use crate::net::handoff::{sealed::Sealed, Carried, HandOver, Handoff};
use crate::net::options;
use crate::op::Socket;
use crate::runtime::Core;
use crate::sys::fd::{BorrowedFd, OwnedFd};
use crate::sys::socket::Domain;

/// Accepts connections to a Unix socket.
///
/// Dropping the future of an accept loses no connection: one that comes all the same is given to the
/// next accept. The path that it is bound to stays when it is closed or dropped: whoever binds it
/// again removes it first.
///
/// Two listeners cannot share a path, as those of TCP share a port. For several cores, bind one with
/// std and give each core a clone ([`from_std`](UnixListener::from_std)).
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::{UnixListener, UnixStream};
/// use std::os::linux::net::SocketAddrExt;
/// use std::os::unix::net::SocketAddr;
/// let address = SocketAddr::from_abstract_name(format!("ringpark-{}", std::process::id()))?;
/// let listener = UnixListener::bind_addr(&address).await?;
/// let client = UnixStream::connect_addr(&address).await?;
/// let server = listener.accept_stream().await?;
/// client.write_all("hello").await.0?;
/// assert_eq!(&server.recv().await?.unwrap()[..], b"hello");
/// # Ok(()) }) }
/// ```
pub struct UnixListener {
    acceptor: Acceptor,
}

impl UnixListener {
    /// Listens at a path, where nothing may be yet.
    ///
    /// # Errors
    /// Those of bind(2) and listen(2), above all `AddrInUse`.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// Listens on an address, which may be one of Linux's abstract ones.
    ///
    /// # Errors
    /// As for [`bind`](UnixListener::bind).
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        let address = super::to_raw(address)?;
        let handle = open(Socket::stream(Domain::UNIX)).await?;
        options::with(&handle, |socket| {
            socket.bind(&address)?;
            socket.listen(BACKLOG)
        })?;
        let fd = handle.take_fd()?;
        Ok(UnixListener { acceptor: Acceptor::new(handle.core.clone(), fd) })
    }

    /// Takes a listener over, made by std or handed in by somebody else.
    ///
    /// # Errors
    /// Of ioctl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener { acceptor: Acceptor::new(Core::current(), listener.into()) })
    }

    fn handle(&self) -> &Listening {
        self.acceptor.handle()
    }

    /// The next connection, and the address that it comes from, which is unnamed unless the other
    /// side was bound. When descriptors run out, a warning is logged, connections wait in the kernel,
    /// and accepting goes on as soon as there are some.
    ///
    /// The address takes a system call: [`accept_stream`](UnixListener::accept_stream) does without.
    ///
    /// # Errors
    /// `TimedOut` after the deadline; [`Closed`](crate::Closed); what is wrong with the listener
    /// itself.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = self.accept_stream().await?;
        let address = stream.peer_addr()?;
        Ok((stream, address))
    }

    /// The same without the address, which hardly anybody needs: clients are seldom bound.
    ///
    /// # Errors
    /// As for [`accept`](UnixListener::accept).
    pub async fn accept_stream(&self) -> io::Result<UnixStream> {
        Ok(UnixStream::from_handle(self.acceptor.accept().await?))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        super::local_addr(self.handle())
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

    /// Takes no more connections from the kernel. [`accept`](UnixListener::accept) goes on with those
    /// that had been taken already, or that the kernel had ready, and then fails with
    /// [`Closed`](crate::Closed): so a server that stops serves everybody whom it had let in. The path
    /// stays, and whoever connects waits until the listener is closed.
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
    /// to nobody come along, and new ones wait in the kernel.
    ///
    /// Dropping the future closes the listener.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_handoff(self) -> io::Result<Handoff<UnixListener>> {
        self.acceptor.into_handoff().await
    }

    /// Gives the open listener to std, and the connections that had been accepted ahead: see
    /// [`Handoff::into_std`].
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_std(
        self,
    ) -> io::Result<(std::os::unix::net::UnixListener, Vec<std::os::unix::net::UnixStream>)> {
        self.into_handoff().await?.into_std()
    }

    /// Closes the listener. Accepts that wait fail with [`Closed`](crate::Closed), and connections
    /// that nobody has accepted are reset. The path stays.
    pub async fn close(&self) -> io::Result<()> {
        self.acceptor.close().await
    }

    options::socket_options!();
}

impl HandOver for UnixListener {
    type Std = std::os::unix::net::UnixListener;
    type Ahead = Vec<std::os::unix::net::UnixStream>;
}

impl Sealed for UnixListener {
    type Unread = OwnedFd;

    fn count(_: &OwnedFd) -> usize {
        1
    }

    fn adopt(fd: OwnedFd, carried: Carried<OwnedFd>) -> UnixListener {
        let acceptor = Acceptor::new(Core::current(), fd);
        UnixListener { acceptor: acceptor.carrying(carried) }
    }

    /// Errors of accepting tell nothing of the connections.
    fn ahead(unread: Vec<io::Result<OwnedFd>>) -> io::Result<Vec<std::os::unix::net::UnixStream>> {
        Ok(unread.into_iter().flatten().map(Into::into).collect())
    }
}

methods::descriptor_traits!(UnixListener);
