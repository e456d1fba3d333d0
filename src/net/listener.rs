//! A TCP listener.

use std::cell::Cell;
use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use socket2::Domain;

use super::resolve::{resolve, ToSocketAddrs};
use super::{options, TcpSocket, TcpStream};
use crate::driver::{Completion, Sink};
use crate::io::handle::{close, Handle};
use crate::io::turn::{perform, turn, Turn};
use crate::op::{accepted, Accept, Backlog, Code, Interest};
use crate::runtime::{Core, Sharing};
use crate::sys;
use crate::time::sleep;

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// Connections that a multishot accept may take ahead of the caller, before it is stopped.
const AHEAD_MAX: usize = 128;

/// How long a listener waits for descriptors to come free before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

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
    handle: Rc<Listening>,
    /// It has been said that descriptors have run out, and they still have.
    complained: Cell<bool>,
}

/// A handle whose feed holds accepted connections.
type Listening = Handle<OwnedFd>;

impl Sink for Listening {
    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        let feed = &self.feed;
        if last {
            feed.set_disarmed();
        }
        match accepted(completion) {
            Ok(socket) => feed.push(Ok(socket)),
            Err(error) => match error.raw_os_error() {
                // Whoever waits starts it anew.
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => feed.push(Err(error)),
            },
        }
        if feed.len() >= AHEAD_MAX {
            self.cancel_feed();
        }
        feed.take_waker()
    }
}

impl Backlog for Turn<OwnedFd> {
    fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle().feed.push(accepted);
    }
}

impl TcpListener {
    /// Listens on an address, with `SO_REUSEADDR`; of several addresses, on the first that can be
    /// had. In a runtime of several cores ([`Builder::run`](crate::Builder::run)) the cores that bind
    /// the same address share its port; an address that somebody else listens on is in use.
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
        let socket = TcpSocket::of(Domain::for_address(address)).await?;
        socket.set_reuseaddr(true)?;
        Core::current().group.bind_shared(address, |sharing| {
            match sharing {
                Sharing::No => socket.bind(address)?,
                // Bound without sharing, so that a foreign listener is noticed, then opened up.
                Sharing::AsFirst if sys::SHARES_PORT_LATER => {
                    socket.bind(address)?;
                    socket.set_reuseport(true)?;
                }
                Sharing::AsFirst | Sharing::WithOthers => {
                    socket.set_reuseport(true)?;
                    socket.bind(address)?;
                }
            }
            socket.listen(BACKLOG)
        })
    }

    /// Takes a listener over, made by std or handed in by somebody else.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let core = Core::current();
        let nonblocking = core.driver.borrow().wants_nonblocking();
        sys::set_nonblocking(listener.as_raw_fd(), nonblocking)?;
        Ok(TcpListener::from_fd(core, listener.into(), nonblocking))
    }

    /// A socket that listens already, in the mode that the backend wants.
    pub(super) fn from_fd(core: Rc<Core>, fd: OwnedFd, nonblocking: bool) -> TcpListener {
        let handle = Handle::new(core, fd, nonblocking);
        TcpListener { handle, complained: Cell::new(false) }
    }

    /// The next connection, and the address that it comes from. Connections that were given up
    /// before they were accepted are passed over. When descriptors run out, a warning is logged,
    /// connections wait in the kernel, and accepting goes on as soon as there are some.
    ///
    /// # Errors
    /// `TimedOut` after the deadline; [`Closed`](crate::Closed); what is wrong with the listener
    /// itself.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let socket = match self.accept_one().await {
                Ok(socket) => socket,
                Err(error) => match error.raw_os_error() {
                    Some(errno) if is_aborted(errno) => continue,
                    Some(errno) if is_exhausted(errno) => {
                        self.complain(&error);
                        self.pause().await?;
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            self.complained.set(false);
            let core = self.handle.core.clone();
            let handle = Handle::new(core, socket, self.handle.is_nonblocking());
            let stream = TcpStream::from_handle(handle);
            match stream.peer_addr() {
                Ok(address) => return Ok((stream, address)),
                // Reset before it could be accepted: it is passed over like any aborted one.
                Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn accept_one(&self) -> io::Result<OwnedFd> {
        let turn = turn(&self.handle, Interest::Readable).await?;
        let multishot = self.handle.core.driver.borrow().has_multishot_accept();
        if multishot || !self.handle.feed.is_empty() {
            return self.next_accepted().await;
        }
        let op = Accept::new(turn, self.handle.is_nonblocking());
        perform(&self.handle, Interest::Readable, op).await
    }

    /// What the multishot accept has brought, which is started if it is not under way.
    async fn next_accepted(&self) -> io::Result<OwnedFd> {
        poll_fn(|cx| {
            if let Some(error) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(error));
            }
            let feed = &self.handle.feed;
            if let Some(accepted) = feed.pop() {
                return Poll::Ready(accepted);
            }
            if feed.armed().is_none() {
                self.arm()?;
            }
            feed.set_waker(cx);
            self.handle.arm_deadline(Interest::Readable, cx);
            Poll::Pending
        })
        .await
    }

    fn arm(&self) -> io::Result<()> {
        let sink: Rc<dyn Sink> = self.handle.clone();
        let mut driver = self.handle.core.driver.borrow_mut();
        let token = driver.start_stream(Code::AcceptMulti, self.handle.fd(), sink);
        self.handle.feed.set_armed(token.ok_or_else(crate::io::closed)?);
        Ok(())
    }

    fn complain(&self, error: &io::Error) {
        if !self.complained.replace(true) {
            tracing::warn!(
                target: "ringpark",
                %error,
                "connections wait, since none can be accepted: raise the limit of descriptors \
                 (ulimit -n)"
            );
        }
    }

    /// Waits a moment, unless the listener is closed or its deadline passes.
    async fn pause(&self) -> io::Result<()> {
        let mut over = pin!(sleep(PAUSE));
        poll_fn(|cx: &mut Context<'_>| {
            if let Some(error) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(error));
            }
            // Close and new deadlines wake whoever the feed knows.
            self.handle.feed.set_waker(cx);
            self.handle.arm_deadline(Interest::Readable, cx);
            over.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(&self.handle)
    }

    /// When accepts fail with `TimedOut`; `None` for never. It may be moved while one waits.
    pub fn set_accept_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Readable, at);
    }

    /// Calls `call` with the descriptor, for what has no method here: an option, say, with socket2.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle.with_fd(call)
    }

    /// Closes the listener. Accepts that wait fail with [`Closed`](crate::Closed), connections that
    /// nobody has accepted are reset, and when this returns the address is free.
    pub async fn close(&self) -> io::Result<()> {
        close(&self.handle).await
    }
}

/// A connection that went away while it waited to be accepted, or the network said no.
fn is_aborted(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
    )
}

/// The machine has no room for another connection at the moment.
fn is_exhausted(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

impl AsRawFd for TcpListener {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle.fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("fd", &self.handle.fd()).finish()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
