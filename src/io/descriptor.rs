//! Descriptors of any kind: pipes, eventfds, terminals, devices.

use std::io;
use std::rc::Rc;

use super::futures::DescriptorWriteAll;
use super::{methods, User};
use crate::buf::{BufResult, IoBuf, IoBufMut, Lease};
use crate::handle::{recv, send, Handle, IoHandle, NotPollable};
use crate::op::{Mode, Read, Write};
use crate::runtime::Core;
use crate::sys;
use crate::sys::fd::{AsRawFd, OwnedFd};

/// The room that is made for bytes of which nobody knows how many there are.
const READ_TO_END_MIN: usize = 4096;

/// The room that is made for the bytes of a `recv`.
const RECV_ROOM: usize = 16 << 10;

/// A descriptor of any kind that the runtime reads, writes and waits for.
///
/// On io_uring everything can be read and written. On the other backends a descriptor that cannot be
/// waited for fails with [`NotPollable`](crate::io::NotPollable) when it would have to wait; a
/// regular file never does, and is read and written by a helper thread there, whatever the deadline.
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
    user: User,
    /// A regular file or a disk: it is never waited for, but takes its time.
    is_disk: bool,
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
        let nonblocking = core.capabilities.wants_nonblocking;
        if nonblocking {
            sys::set_nonblocking(fd.as_raw_fd(), true)?;
        }
        Ok(Descriptor::of(core, fd, nonblocking))
    }

    /// A descriptor whose mode is not ours to change for good, since others share the open file.
    pub(super) fn shared(fd: OwnedFd) -> Descriptor {
        Descriptor::of(Core::current(), fd, false)
    }

    fn of(core: Rc<Core>, fd: OwnedFd, nonblocking: bool) -> Descriptor {
        let is_disk = sys::is_disk(fd.as_raw_fd());
        Descriptor { user: User::new(Handle::in_mode(core, fd, nonblocking)), is_disk }
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
    }

    /// How its operations wait.
    fn mode(&self) -> Mode {
        match (self.is_disk, self.handle().is_nonblocking()) {
            (true, _) => Mode::Disk,
            (false, true) => Mode::Nonblocking,
            (false, false) => Mode::Blocking,
        }
    }

    /// The next bytes; `None` at the end. While nothing arrives no buffer is held, unless the descriptor
    /// is one that cannot be waited for. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As for [`read`](Descriptor::read).
    pub async fn recv(&self) -> io::Result<Option<Lease>> {
        if !self.is_disk {
            match self.readable().await {
                Err(error) if NotPollable::is(&error) => {}
                other => other?,
            }
        }
        let (result, bytes) = self.read(Vec::with_capacity(RECV_ROOM)).await;
        Ok((result? > 0).then(|| Lease::from_vec(bytes)))
    }

    /// Reads some bytes into the buffer's room; 0 is the end, unless the buffer has no room.
    ///
    /// # Errors
    /// Those of read(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> BufResult<usize, B> {
        let handle = self.handle();
        let mode = self.mode();
        let direct = |permit, buffer| Read::new(permit, buffer, mode);
        recv::read(handle, buffer, direct).await
    }

    /// Fills the buffer's room. Dropping the future loses what has been read into the buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before; those of [`read`](Descriptor::read).
    pub async fn read_exact<B: IoBufMut>(&self, buffer: B) -> BufResult<(), B> {
        let handle = self.handle();
        let mode = self.mode();
        let direct = |permit, buffer| Read::new(permit, buffer, mode);
        recv::read_exact(handle, buffer, direct).await
    }

    /// Reads all there is, behind what is in the vector: how many bytes. Dropping the future loses
    /// what has been read.
    ///
    /// # Errors
    /// Those of [`read`](Descriptor::read); what was read before is in the vector.
    pub async fn read_to_end(&self, mut buffer: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        let start = buffer.len();
        loop {
            if buffer.capacity() == buffer.len() {
                buffer.reserve(READ_TO_END_MIN);
            }
            let len = buffer.len();
            let (result, slice) = self.read(buffer.slice(len..)).await;
            buffer = slice.into_inner();
            match result {
                Ok(0) => return (Ok(buffer.len() - start), buffer),
                Ok(_) => {}
                Err(error) => return (Err(error), buffer),
            }
        }
    }

    /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
    ///
    /// # Errors
    /// Those of write(2); `TimedOut` after the write deadline; [`Closed`](crate::Closed).
    pub async fn write<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        let handle = self.handle();
        let mode = self.mode();
        let direct = |permit, buffer, start| Write::new(permit, buffer, start, mode);
        send::write(handle, buffer, direct).await
    }

    /// Writes all of the buffer's bytes.
    ///
    /// # Errors
    /// As for [`write`](Descriptor::write); [`written`](super::written) tells how many went out.
    pub fn write_all<B: IoBuf>(&self, buffer: B) -> DescriptorWriteAll<'_, B> {
        DescriptorWriteAll::new(self.handle(), buffer, self.mode())
    }

    methods::readable_methods!("descriptor");
    methods::writable_methods!("descriptor");
    methods::deadline_methods!();
    methods::close_methods!("descriptor");
}

methods::descriptor_traits!(Descriptor);
