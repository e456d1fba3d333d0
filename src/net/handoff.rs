//! Connections and listeners on their way from one core to another, or back to std.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::{TcpStream, UnixStream};
use crate::buf::Lease;
use crate::handle::{release, Chunk, Handle, IoHandle, Released};
use crate::op::Interest;
use crate::runtime::Core;
use crate::sys::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A quiet connection, or a listener, that belongs to no core: it can be sent to any thread, and
/// [adopted](Handoff::adopt) by another core.
///
/// It carries what the handle had: what was received and not read yet, an error that was to be
/// reported next, and the deadlines. Of a listener those are connections that were accepted and given
/// to nobody, and whether it has been stopped. Dropping it closes the descriptor.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use ringpark::net::{TcpListener, TcpStream};
/// ringpark::Builder::new().cores(2).run(|| async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let server = listener.accept_stream().await?;
///
///     let handoff = server.into_handoff().await?;
///     let moved = ringpark::spawn_anywhere(move || async move {
///         handoff.adopt().write_all("from wherever").await.0
///     });
///     let (result, _greeting) = client.read_exact(vec![0; 13]).await;
///     result?;
///     // A core whose main has returned has ended, and may have refused or cut this.
///     drop(moved);
///     Ok(())
/// # }).or_else(|e| if e.kind() == std::io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(e) })
/// }
/// ```
#[must_use = "dropping it closes the descriptor"]
pub struct Handoff<T: HandOver = TcpStream> {
    fd: OwnedFd,
    carried: Carried<T::Unread>,
}

/// What can be handed over to another core: the streams and listeners of this module.
pub trait HandOver: sealed::Sealed {
    /// What std has for it.
    type Std: From<OwnedFd>;
    /// What may have been received ahead: the bytes of a stream, and on Unix streams the descriptors
    /// that came beside them; the connections of a listener.
    type Ahead;
}

pub(super) mod sealed {
    use crate::sys::fd::OwnedFd;
    use std::io;

    use super::{Carried, HandOver};

    pub trait Sealed: Sized + 'static {
        /// One item that was received and not read, in a form that any thread may have.
        type Unread: Send + 'static;

        /// How many bytes or connections it is.
        fn count(unread: &Self::Unread) -> usize;

        /// Makes a handle of this core.
        fn adopt(fd: OwnedFd, carried: Carried<Self::Unread>) -> Self;

        /// What goes to std with the descriptor.
        fn ahead(unread: Vec<io::Result<Self::Unread>>) -> io::Result<Self::Ahead>
        where
            Self: HandOver;
    }
}

/// What a handle had beside its descriptor.
pub struct Carried<U> {
    unread: Vec<io::Result<U>>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
    /// It is a listener that takes no more connections from the kernel.
    stopped: bool,
}

impl<U> Carried<U> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Gives it to a new handle of the same socket.
    pub(super) fn put<I: 'static>(self, handle: &Handle<I>, mut unpack: impl FnMut(U) -> I) {
        for item in self.unread {
            handle.queue.push(item.map(&mut unpack));
        }
        handle.set_deadline(Interest::Readable, self.read_deadline);
        handle.set_deadline(Interest::Writable, self.write_deadline);
    }
}

/// A part of a stream that was received and not read. What was in a buffer of the core is copied, so
/// that the buffer goes back at once.
pub struct Unread(Chunk);

impl Unread {
    fn new(chunk: Chunk) -> Unread {
        match chunk {
            Chunk::Lease(lease) => Unread(Chunk::Lease(Lease::from_vec(lease.to_vec()))),
            // Descriptors may have come with it.
            message @ Chunk::Message(_) => Unread(message),
        }
    }
}

impl<T: HandOver> Handoff<T> {
    /// Ends what is in flight on a handle and takes its descriptor off this core.
    pub(super) async fn take<I: 'static>(
        handle: &Rc<Handle<I>>,
        stopped: bool,
        mut pack: impl FnMut(I) -> T::Unread,
    ) -> io::Result<Handoff<T>> {
        let read_deadline = handle.deadline(Interest::Readable);
        let write_deadline = handle.deadline(Interest::Writable);
        let Released { fd, items } = release(handle).await?;
        let unread = items.into_iter().map(|item| item.map(&mut pack)).collect();
        Ok(Handoff { fd, carried: Carried { unread, read_deadline, write_deadline, stopped } })
    }

    /// How many bytes have been received and not read yet; how many connections a listener has
    /// accepted and given to nobody.
    pub fn unread(&self) -> usize {
        self.carried.unread.iter().flatten().map(T::count).sum()
    }

    /// Makes this core serve it. The next read begins with what was unread, the next accept gives a
    /// connection that was accepted before; the deadlines are those that it had.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn adopt(self) -> T {
        T::adopt(self.fd, self.carried)
    }

    /// Gives the open descriptor to std, with what had been received ahead, which comes before all
    /// that std will read from it or accept. It stays non-blocking (`set_nonblocking` of std changes
    /// that), and the deadlines are lost.
    ///
    /// # Errors
    /// What the next read of a stream would have said: the connection was reset, and is closed.
    pub fn into_std(self) -> io::Result<(T::Std, T::Ahead)> {
        Ok((self.fd.into(), T::ahead(self.carried.unread)?))
    }
}

impl TcpStream {
    /// Takes the connection off this core, so that another one can [adopt](Handoff::adopt) it. What
    /// earlier futures have left in flight is ended first; bytes that it still receives come along.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_handoff(self) -> io::Result<Handoff<TcpStream>> {
        Handoff::take(self.handle(), false, Unread::new).await
    }

    /// Gives the open connection to std, and the bytes that had been received ahead: see
    /// [`Handoff::into_std`].
    ///
    /// # Errors
    /// [`Closed`](crate::Closed); those of [`Handoff::into_std`].
    pub async fn into_std(self) -> io::Result<(std::net::TcpStream, Vec<u8>)> {
        self.into_handoff().await?.into_std()
    }
}

impl UnixStream {
    /// Takes the connection off this core, so that another one can [adopt](Handoff::adopt) it. What
    /// earlier futures have left in flight is ended first; bytes and descriptors that it still
    /// receives come along.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_handoff(self) -> io::Result<Handoff<UnixStream>> {
        Handoff::take(self.handle(), false, Unread::new).await
    }

    /// Gives the open connection to std, and the bytes and descriptors that had been received ahead:
    /// see [`Handoff::into_std`].
    ///
    /// # Errors
    /// [`Closed`](crate::Closed); those of [`Handoff::into_std`].
    pub async fn into_std(
        self,
    ) -> io::Result<(std::os::unix::net::UnixStream, (Vec<u8>, Vec<OwnedFd>))> {
        self.into_handoff().await?.into_std()
    }
}

impl HandOver for TcpStream {
    type Std = std::net::TcpStream;
    type Ahead = Vec<u8>;
}

impl sealed::Sealed for TcpStream {
    type Unread = Unread;

    fn count(unread: &Unread) -> usize {
        unread.0.bytes().len()
    }

    fn adopt(fd: OwnedFd, carried: Carried<Unread>) -> TcpStream {
        TcpStream::from_handle(adopt(fd, carried))
    }

    fn ahead(unread: Vec<io::Result<Unread>>) -> io::Result<Vec<u8>> {
        Ok(ahead(unread)?.0)
    }
}

impl HandOver for UnixStream {
    type Std = std::os::unix::net::UnixStream;
    type Ahead = (Vec<u8>, Vec<OwnedFd>);
}

impl sealed::Sealed for UnixStream {
    type Unread = Unread;

    fn count(unread: &Unread) -> usize {
        unread.0.bytes().len()
    }

    fn adopt(fd: OwnedFd, carried: Carried<Unread>) -> UnixStream {
        UnixStream::from_handle(adopt(fd, carried))
    }

    fn ahead(unread: Vec<io::Result<Unread>>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        ahead(unread)
    }
}

fn adopt(fd: OwnedFd, carried: Carried<Unread>) -> Rc<IoHandle> {
    let handle = Handle::new(Core::current(), fd);
    carried.put(&handle, |unread| unread.0);
    handle
}

/// Bytes and descriptors, in order. The end of a stream is found again by whoever reads on.
fn ahead(unread: Vec<io::Result<Unread>>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    for item in unread {
        let Unread(chunk) = item?;
        bytes.extend_from_slice(chunk.bytes());
        if let Chunk::Message(message) = chunk {
            fds.extend(message.ancillary.fds);
        }
    }
    Ok((bytes, fds))
}

impl<T: HandOver> AsFd for Handoff<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T: HandOver> AsRawFd for Handoff<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl<T: HandOver> fmt::Debug for Handoff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff")
            .field("fd", &self.fd.as_raw_fd())
            .field("unread", &self.unread())
            .finish()
    }
}
