//! What connected sockets that carry a stream of bytes have in common.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use super::options;
use crate::buf::{IoBuf, IoBufMut, Lease, ZeroCopy};
use crate::handle::{recv, IoHandle};
use crate::handle::{send, zero_copy};
use crate::io::Pollable;
use crate::op;

/// A connected socket that carries a stream of bytes: what [`TcpStream`](super::TcpStream) and
/// [`UnixStream`](super::UnixStream), which dereference to it, have in common. Deadlines,
/// readiness and closing are those of [`Pollable`], to which this dereferences in turn.
///
/// All methods take `&self`: one task may read while another writes. Buffers are given to an operation
/// and come back with its result; [`recv`](SocketStream::recv) needs none.
///
/// Dropping the future of a read loses nothing: bytes that arrive for it are given to the next read.
/// Dropping the future of a write leaves open how much was written, as everywhere.
pub struct SocketStream {
    pollable: Pollable,
}

impl SocketStream {
    pub(super) fn new(handle: Rc<IoHandle>) -> SocketStream {
        SocketStream { pollable: Pollable::new(handle) }
    }

    /// Takes a connected socket over that is nobody else's.
    pub(super) fn take_over(fd: OwnedFd) -> io::Result<SocketStream> {
        Ok(SocketStream { pollable: Pollable::take_over(fd)? })
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        self.pollable.handle()
    }

    /// Another user of the same connection.
    pub(super) fn share(&self) -> SocketStream {
        SocketStream { pollable: self.pollable.share() }
    }

    /// The next bytes, wherever the kernel has put them; `None` at the end of the stream. While
    /// nothing arrives no buffer is held. When the core's buffers are all in use this waits until
    /// one comes back.
    ///
    /// # Errors
    /// Those of recv(2), above all `ConnectionReset`; `TimedOut` after the read deadline;
    /// [`Closed`](crate::Closed).
    pub fn recv(&self) -> impl Future<Output = io::Result<Option<Lease>>> + use<'_> {
        recv::recv(self.handle())
    }

    /// Reads some bytes into the buffer's room; 0 is the end of the stream, unless the buffer has
    /// no room.
    ///
    /// # Errors
    /// As for [`recv`](SocketStream::recv).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        recv::read(self.handle(), buffer, op::Recv::new).await
    }

    /// Fills the buffer's room, with no other read between. Dropping the future loses what has been
    /// read into the buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before; those of [`recv`](SocketStream::recv).
    pub async fn read_exact<B: IoBufMut>(&self, buffer: B) -> (io::Result<()>, B) {
        recv::read_exact(self.handle(), buffer, op::Recv::new).await
    }

    /// Looks at the next bytes, which stay there for the next read.
    ///
    /// # Errors
    /// As for [`recv`](SocketStream::recv).
    pub async fn peek<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        recv::peek(self.handle(), buffer).await
    }

    /// Writes some of the buffer's bytes.
    ///
    /// # Errors
    /// Those of send(2), above all `BrokenPipe` and `ConnectionReset`; `TimedOut` after the write
    /// deadline; [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        send::write(self.handle(), buffer, op::Send::some).await
    }

    /// Writes all of the buffer's bytes, with no other write between them.
    ///
    /// # Errors
    /// As for [`write`](SocketStream::write); [`io::written`](crate::io::written) tells how many bytes
    /// went out before.
    pub fn write_all<B: IoBuf>(
        &self,
        buffer: B,
    ) -> impl Future<Output = (io::Result<()>, B)> + use<'_, B> {
        send::write_all(self.handle(), buffer, op::Send::all)
    }

    /// Writes all of the buffer's bytes out of the memory that they are in, where the kernel can do
    /// that, with no other write between them.
    ///
    /// There are two things to wait for. This future ends when the socket has accepted the bytes, as
    /// that of [`write_all`](SocketStream::write_all) does, and the next write may follow at once. The
    /// [`ZeroCopy`] that it yields ends when the kernel has let go of the memory: when the peer has
    /// acknowledged the bytes, a round trip later at best. It gives the buffer back, with a
    /// [`Usage`](crate::buf::Usage) that says whether the bytes were copied all the same.
    ///
    /// ```
    /// # use std::io;
    /// # fn main() -> io::Result<()> { ringpark::block_on(async {
    /// # use ringpark::net::{TcpListener, TcpStream};
    /// use ringpark::buf::Usage;
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (peer, _) = listener.accept().await?;
    /// let mut chunk = vec![7; 64 << 10];
    /// let (result, lent) = stream.write_all_zero_copy(chunk).await;
    /// result?;
    /// // The next bytes need not wait for the buffer of the last.
    /// stream.write_all("done").await.0?;
    /// # peer.read_exact(Vec::with_capacity((64 << 10) + 4)).await.0?;
    /// let usage;
    /// (chunk, usage) = lent.await;
    /// if usage == Usage::Copied {
    ///     println!("{} bytes: write_all is better on this way", chunk.len());
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # When it pays
    /// On a real network interface, from about 3 to 16 KiB a write on: locking pages and the second
    /// answer cost what copying so much does. Over loopback the kernel always copies, as it does over
    /// veth and tap interfaces, and does it later than an ordinary send would; `ringpark probe --route`
    /// tells of a way. So measure, and ask the first writes of a connection for their `Usage`.
    ///
    /// The pages are charged to the locked memory of the user (`RLIMIT_MEMLOCK`) while they are lent.
    ///
    /// # Kernels
    /// It takes `IORING_OP_SEND_ZC` (Linux 6.0; the report came with 6.2, before which the usage is
    /// `Unknown`): see io_uring_enter(2) and io_uring_prep_send_zc(3). Elsewhere, on sockets of kinds that
    /// cannot do it (Unix sockets), when too little memory may be locked, and without
    /// [`Feature::ZeroCopy`](crate::runtime::Feature::ZeroCopy), this is an ordinary send, whose buffer is back
    /// at once, with `Copied`.
    ///
    /// # Dropping
    /// Dropping the future leaves open how much was written, as everywhere; dropping the `ZeroCopy`
    /// changes nothing about what is sent. In either case the buffer stays with the runtime until the
    /// kernel has let go of it, and is freed then. It counts as an operation in flight for so long.
    ///
    /// # Errors
    /// As for [`write_all`](SocketStream::write_all). The buffer comes back after an error too.
    pub async fn write_all_zero_copy<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, ZeroCopy<B>) {
        zero_copy::write_all(self.handle(), buffer).await
    }

    /// Writes some of the bytes of several buffers, in order, as one operation.
    ///
    /// # Errors
    /// As for [`write`](SocketStream::write).
    pub async fn write_vectored<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        send::write_vectored(self.handle(), buffers).await
    }

    /// Writes all of the bytes of several buffers, in order, with no other write between them.
    ///
    /// # Errors
    /// As for [`write_all`](SocketStream::write_all).
    pub async fn write_vectored_all<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<()>, Vec<B>) {
        send::write_vectored_all(self.handle(), buffers).await
    }

    /// Shuts one or both halves down. After `Write` the other side finds the end of the stream, and
    /// may go on sending.
    ///
    /// # Errors
    /// Those of shutdown(2); [`Closed`](crate::Closed).
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        send::shutdown(self.handle(), how)?.await
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        options::with(self.handle(), |socket| socket.take_error())
    }
}

impl Deref for SocketStream {
    type Target = Pollable;

    fn deref(&self) -> &Pollable {
        &self.pollable
    }
}

impl AsRawFd for SocketStream {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.pollable.as_raw_fd()
    }
}

impl fmt::Debug for SocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketStream").field("fd", &self.as_raw_fd()).finish()
    }
}
