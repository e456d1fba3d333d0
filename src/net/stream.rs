//! A TCP connection.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Domain;

use super::resolve::{resolve, ToSocketAddrs};
use super::{options, OwnedReadHalf, OwnedWriteHalf, TcpSocket};
use crate::buf::{IoBuf, IoBufMut, Lease};
use crate::io::handle::{close, Handle};
use crate::io::inbound::{self, Bytes};
use crate::io::{outbound, ready, Submission};
use crate::op::{self, Interest};
use crate::runtime::Core;
use crate::sys;
use crate::time::clock;

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. Buffers are given to an operation
/// and come back with its result; [`recv`](TcpStream::recv) needs none.
///
/// Dropping the future of a read loses nothing: bytes that arrive for it are given to the next read.
/// Dropping the future of a write leaves open how much was written, as everywhere.
pub struct TcpStream {
    handle: Rc<Bytes>,
}

impl TcpStream {
    pub(super) fn from_handle(handle: Rc<Bytes>) -> TcpStream {
        TcpStream { handle }
    }

    pub(crate) fn handle(&self) -> &Rc<Bytes> {
        &self.handle
    }

    /// Another user of the same connection.
    pub(super) fn share(&self) -> TcpStream {
        self.handle.add_user();
        TcpStream { handle: self.handle.clone() }
    }

    /// Connects to an address; of several, to the first that answers. A name is resolved on a helper
    /// thread. Dropping the future ends the attempt.
    ///
    /// # Errors
    /// Those of connect(2) for the last address, and those of name resolution.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::connect_until(address, None).await
    }

    /// The same within a time, which is shared out: each address that is tried gets an equal part of
    /// what is left.
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
                Err(_) => Err(crate::io::timed_out()),
            },
        }
    }

    async fn connect_until(
        address: impl ToSocketAddrs,
        deadline: Option<Instant>,
    ) -> io::Result<TcpStream> {
        let mut addresses = resolve(address).await?;
        let mut last = None;
        while let Some(address) = addresses.next() {
            let socket = TcpSocket::of(Domain::for_address(address)).await?;
            socket.set_connect_deadline(deadline.map(|at| {
                let now = clock::now();
                now + at.saturating_duration_since(now) / (1 + addresses.len() as u32)
            }));
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a name resolves to one address at least"))
    }

    /// Takes a connection over from std.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let core = Core::current();
        let nonblocking = core.driver.borrow().wants_nonblocking();
        sys::set_nonblocking(stream.as_raw_fd(), nonblocking)?;
        Ok(TcpStream { handle: Handle::new(core, stream.into(), nonblocking) })
    }

    /// The next bytes, wherever the kernel has put them; `None` at the end of the stream. While
    /// nothing arrives no buffer is held. When the core's buffers are all in use this waits until
    /// one comes back.
    ///
    /// # Errors
    /// Those of recv(2), above all `ConnectionReset`; `TimedOut` after the read deadline;
    /// [`Closed`](crate::Closed).
    pub async fn recv(&self) -> io::Result<Option<Lease>> {
        inbound::recv(&self.handle).await
    }

    /// Reads some bytes into the buffer's room; 0 is the end of the stream, unless the buffer has
    /// no room.
    ///
    /// # Errors
    /// As for [`recv`](TcpStream::recv).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        inbound::read(&self.handle, buffer, op::Recv::new).await
    }

    /// Fills the buffer's room, with no other read between. Dropping the future loses what has been read into the buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before; those of [`recv`](TcpStream::recv).
    pub async fn read_exact<B: IoBufMut>(&self, buffer: B) -> (io::Result<()>, B) {
        inbound::read_exact(&self.handle, buffer, op::Recv::new).await
    }

    /// Looks at the next bytes, which stay there for the next read.
    ///
    /// # Errors
    /// As for [`recv`](TcpStream::recv).
    pub async fn peek<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        inbound::peek(&self.handle, buffer).await
    }

    /// Writes some of the buffer's bytes.
    ///
    /// # Errors
    /// Those of send(2), above all `BrokenPipe` and `ConnectionReset`; `TimedOut` after the write
    /// deadline; [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        outbound::write(&self.handle, buffer, op::Send::some).await
    }

    /// Writes all of the buffer's bytes, with no other write between them.
    ///
    /// # Errors
    /// As for [`write`](TcpStream::write); [`io::written`](crate::io::written) tells how many bytes
    /// went out before.
    pub async fn write_all<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, B) {
        outbound::write_all(&self.handle, buffer, op::Send::all).await
    }

    /// Writes some of the bytes of several buffers, in order, as one operation.
    ///
    /// # Errors
    /// As for [`write`](TcpStream::write).
    pub async fn write_vectored<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        outbound::write_vectored(&self.handle, buffers).await
    }

    /// Writes all of the bytes of several buffers, in order, with no other write between them.
    ///
    /// # Errors
    /// As for [`write_all`](TcpStream::write_all).
    pub async fn write_vectored_all<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<()>, Vec<B>) {
        outbound::write_vectored_all(&self.handle, buffers).await
    }

    /// Shuts one or both halves down. After `Write` the other side finds the end of the stream, and
    /// may go on sending.
    ///
    /// # Errors
    /// Those of shutdown(2); [`Closed`](crate::Closed).
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if self.handle.is_closing() {
            return Err(crate::io::closed());
        }
        let keep = Keep(self.handle.clone());
        Submission::new(self.handle.core.clone(), op::Shutdown::new(keep, how)).await
    }

    /// Closes the connection. Operations that wait fail with [`Closed`](crate::Closed), and when this
    /// returns the descriptor is really closed. Dropping the stream closes it too, a moment later.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed) if it has been closed already; those of close(2).
    pub async fn close(&self) -> io::Result<()> {
        close(&self.handle).await
    }

    /// Waits until there is something to read, or the end of the stream.
    pub async fn readable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Readable).await
    }

    /// Waits until there is room to write, or nobody to read.
    pub async fn writable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Writable).await
    }

    /// Calls `attempt` with the descriptor, which is non-blocking meanwhile, until it does not fail
    /// with `WouldBlock`; waits in between until there is something to read. Deadlines and
    /// `close` end the wait. Fails if bytes have been received ahead by [`recv`](TcpStream::recv).
    pub async fn read_with<R>(
        &self,
        attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        ready::with(&self.handle, Interest::Readable, attempt).await
    }

    /// The same for writing.
    pub async fn write_with<R>(
        &self,
        attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        ready::with(&self.handle, Interest::Writable, attempt).await
    }

    /// When reads fail with `TimedOut`; `None` for never. It may be moved while one waits, and one
    /// that has passed fails all reads until it is moved.
    pub fn set_read_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Readable, at);
    }

    /// The same for writes.
    pub fn set_write_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Writable, at);
    }

    /// The same for both.
    pub fn set_deadline(&self, at: Option<Instant>) {
        self.set_read_deadline(at);
        self.set_write_deadline(at);
    }

    /// Calls `call` with the descriptor, for what has no method here: an option, say, with socket2.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle.with_fd(call)
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        options::peer_addr(&self.handle)
    }

    /// The address of this side.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(&self.handle)
    }

    /// Whether small writes go out at once and are not gathered (`TCP_NODELAY`).
    pub fn nodelay(&self) -> io::Result<bool> {
        options::with(&self.handle, |socket| socket.tcp_nodelay())
    }

    /// Sets `TCP_NODELAY`. Accepted connections inherit it from their listener.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        options::with(&self.handle, |socket| socket.set_tcp_nodelay(on))
    }

    /// How long closing waits for unsent bytes (`SO_LINGER`). Zero resets the connection on close.
    pub fn set_linger(&self, time: Option<Duration>) -> io::Result<()> {
        options::with(&self.handle, |socket| socket.set_linger(time))
    }

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        options::with(&self.handle, |socket| socket.set_keepalive(on))
    }

    /// The hop limit of packets sent (`IP_TTL`).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        options::with(&self.handle, |socket| socket.set_ttl_v4(ttl))
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        options::with(&self.handle, |socket| socket.take_error())
    }

    /// Two halves, for two tasks. Dropping the writing one shuts writing down.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        super::split::split(self)
    }
}

/// Keeps a descriptor open for an operation that needs no turn.
struct Keep(Rc<Bytes>);

impl op::KeepsOpen for Keep {
    fn fd(&self) -> RawFd {
        self.0.fd()
    }
}

impl AsRawFd for TcpStream {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle.fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("fd", &self.handle.fd()).finish()
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
