//! Descriptors of any kind: pipes, eventfds, terminals, devices.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::handle::Handle;
use super::{inbound, outbound, Pollable};
use crate::buf::{IoBuf, IoBufMut};
use crate::op::{Read, Write};
use crate::runtime::Core;
use crate::sys;

/// A descriptor of any kind that the runtime reads, writes and waits for. Deadlines, readiness,
/// calls of your own and closing are those of [`Pollable`], to which it dereferences.
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
    pollable: Pollable,
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
        Ok(Descriptor { pollable: Pollable::new(Handle::new(core, fd, nonblocking)) })
    }

    /// Reads some bytes into the buffer's room; 0 is the end, unless the buffer has no room.
    ///
    /// # Errors
    /// Those of read(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        let handle = self.pollable.handle();
        let nonblocking = handle.is_nonblocking();
        let direct = |turn, buffer, limit| Read::new(turn, buffer, limit, nonblocking);
        inbound::read(handle, buffer, direct).await
    }

    /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
    ///
    /// # Errors
    /// Those of write(2); `TimedOut` after the write deadline; [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        let handle = self.pollable.handle();
        let nonblocking = handle.is_nonblocking();
        let direct =
            |turn, buffer, start, limit| Write::new(turn, buffer, start, limit, nonblocking);
        outbound::write(handle, buffer, direct).await
    }

    /// Writes all of the buffer's bytes.
    ///
    /// # Errors
    /// As for [`write`](Descriptor::write); [`written`](super::written) tells how many went out.
    pub async fn write_all<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, B) {
        let handle = self.pollable.handle();
        let nonblocking = handle.is_nonblocking();
        let direct =
            |turn, buffer, start, limit| Write::new(turn, buffer, start, limit, nonblocking);
        outbound::write_all(handle, buffer, direct).await
    }
}

impl Deref for Descriptor {
    type Target = Pollable;

    fn deref(&self) -> &Pollable {
        &self.pollable
    }
}

impl AsRawFd for Descriptor {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.pollable.as_raw_fd()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("fd", &self.as_raw_fd()).finish()
    }
}
