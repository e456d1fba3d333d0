//! Descriptors of any kind: pipes, eventfds, terminals, devices.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Instant;

use super::handle::{self, Handle};
use super::{inbound, outbound, ready};
use crate::buf::{IoBuf, IoBufMut};
use crate::op::{Interest, Read, Write};
use crate::runtime::Core;
use crate::sys;

/// A descriptor of any kind that the runtime reads, writes and waits for.
///
/// On io_uring everything can be read and written. On the other backends a descriptor that cannot be
/// waited for fails with [`NotPollable`](crate::NotPollable) when it would have to wait; a
/// regular file never does, and blocks its core instead while the disk works.
///
/// One read and one write are under way at a time; others wait for their turn, in order. Dropping the
/// future of a read loses nothing: what arrives is given to the next one.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::io::Descriptor;
/// use std::os::unix::net::UnixStream;
/// let (one, other) = UnixStream::pair()?;
/// let (one, other) = (Descriptor::new(one.into())?, Descriptor::new(other.into())?);
/// one.write_all("from one end").await.0?;
/// one.close().await?;
/// let (count, buffer) = other.read(Vec::with_capacity(64)).await;
/// assert_eq!(&buffer[..count?], b"from one end");
/// # Ok(()) }) }
/// ```
pub struct Descriptor {
    handle: Rc<inbound::Bytes>,
}

impl Descriptor {
    /// Takes a descriptor over. On backends other than io_uring it is made non-blocking.
    ///
    /// # Errors
    /// Of fcntl(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Descriptor> {
        let core = Core::current();
        let nonblocking = core.driver.borrow().wants_nonblocking();
        if nonblocking {
            sys::set_nonblocking(fd.as_raw_fd(), true)?;
        }
        Ok(Descriptor { handle: Handle::new(core, fd, nonblocking) })
    }

    /// Reads some bytes into the buffer's room; 0 is the end, unless the buffer has no room.
    ///
    /// # Errors
    /// Those of read(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        let nonblocking = self.handle.is_nonblocking();
        let direct = |turn, buffer, limit| Read::new(turn, buffer, limit, nonblocking);
        inbound::read(&self.handle, buffer, direct).await
    }

    /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
    ///
    /// # Errors
    /// Those of write(2); `TimedOut` after the write deadline; [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        let nonblocking = self.handle.is_nonblocking();
        let direct =
            |turn, buffer, start, limit| Write::new(turn, buffer, start, limit, nonblocking);
        outbound::write(&self.handle, buffer, direct).await
    }

    /// Writes all of the buffer's bytes.
    ///
    /// # Errors
    /// As for [`write`](Descriptor::write); [`written`](super::written) tells how many went out.
    pub async fn write_all<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, B) {
        let nonblocking = self.handle.is_nonblocking();
        let direct =
            |turn, buffer, start, limit| Write::new(turn, buffer, start, limit, nonblocking);
        outbound::write_all(&self.handle, buffer, direct).await
    }

    /// Waits until there is something to read, or the end.
    pub async fn readable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Readable).await
    }

    /// Waits until there is room to write, or nobody to read.
    pub async fn writable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Writable).await
    }

    /// Calls `attempt` with the descriptor, which is non-blocking meanwhile, until it does not fail
    /// with `WouldBlock`, waiting in between until there is something to read.
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

    /// When reads fail with `TimedOut`; `None` for never. It may be moved while one waits.
    pub fn set_read_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Readable, at);
    }

    /// When writes fail with `TimedOut`; `None` for never. It may be moved while one waits.
    pub fn set_write_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Writable, at);
    }

    /// Calls `call` with the descriptor, for what has no method here: an option, say, with socket2.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle.with_fd(call)
    }

    /// Closes the descriptor. Operations that wait fail with [`Closed`](crate::Closed), and when this
    /// returns the number is free.
    pub async fn close(&self) -> io::Result<()> {
        handle::close(&self.handle).await
    }
}

impl AsRawFd for Descriptor {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle.fd()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("fd", &self.handle.fd()).finish()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
