//! What every descriptor can do that a core waits for: deadlines, readiness, an end.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Instant;

use crate::handle::ready;
use crate::handle::IoHandle;
use crate::handle::{self, Handle};
use crate::op::Interest;
use crate::runtime::Core;
use crate::sys;

/// What sockets, pipes and all other descriptors of a core have in common: deadlines for reading and
/// writing, the wait for readiness, calls of your own, and closing. It cannot be made by itself:
/// sockets and [`Descriptor`](super::Descriptor) dereference to it.
///
/// Reading and writing are separate directions. In each, one operation is under way at a time, and
/// others wait for their turn, in order.
///
/// Dropping the last user handle ends what is in flight on the descriptor, and closes it a moment
/// later.
pub struct Pollable {
    handle: Rc<IoHandle>,
}

impl Pollable {
    pub(crate) fn new(handle: Rc<IoHandle>) -> Pollable {
        Pollable { handle }
    }

    /// Takes over a socket that is nobody else's and does not listen.
    pub(crate) fn take_over(fd: OwnedFd) -> io::Result<Pollable> {
        sys::set_nonblocking(fd.as_raw_fd(), true)?;
        Ok(Pollable { handle: Handle::new(Core::current(), fd) })
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        &self.handle
    }

    /// Another user of the same descriptor.
    pub(crate) fn share(&self) -> Pollable {
        self.handle.add_user();
        Pollable { handle: self.handle.clone() }
    }

    /// Waits until there is something to read, or the end of the stream. Dropping the future changes
    /// nothing.
    ///
    /// # Errors
    /// `TimedOut` after the read deadline; [`Closed`](crate::Closed);
    /// [`NotPollable`](crate::io::NotPollable) where the backend cannot wait for such a descriptor.
    pub async fn readable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Readable).await
    }

    /// Waits until there is room to write, or nobody to read.
    ///
    /// # Errors
    /// As for [`readable`](Pollable::readable), with the write deadline.
    pub async fn writable(&self) -> io::Result<()> {
        ready::ready(&self.handle, Interest::Writable).await
    }

    /// Calls `attempt` with the descriptor, which is non-blocking meanwhile, until it does not fail
    /// with `WouldBlock`; waits in between until there is something to read. Deadlines and
    /// [`close`](Pollable::close) end the wait; dropping the future does too, and between two calls
    /// only. `attempt` must make its system call without waiting, and may close nothing.
    ///
    /// # Errors
    /// What `attempt` says, those of [`readable`](Pollable::readable), and one of its own if bytes
    /// have been received ahead of the caller (`recv` does so): they are not to be found in the
    /// descriptor any more.
    pub async fn read_with<R>(
        &self,
        attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        ready::with(&self.handle, Interest::Readable, attempt).await
    }

    /// The same for writing: see [`read_with`](Pollable::read_with).
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

    /// Closes the descriptor. Operations that wait fail with [`Closed`](crate::Closed), and when this
    /// returns the descriptor is really closed and its number free. If the future is dropped before,
    /// closing goes on by itself.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed) if it has been closed already; those of close(2).
    pub async fn close(&self) -> io::Result<()> {
        handle::close(&self.handle).await
    }
}

impl AsRawFd for Pollable {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle.fd()
    }
}

impl fmt::Debug for Pollable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pollable").field("fd", &self.handle.fd()).finish()
    }
}

impl Drop for Pollable {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
