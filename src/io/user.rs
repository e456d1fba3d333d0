//! Whoever uses a handle: each public type of a descriptor holds one of these.

use std::io;
use std::rc::Rc;

use crate::handle::{Handle, IoHandle};
use crate::runtime::Core;
use crate::sys;
use crate::sys::fd::{AsRawFd, OwnedFd};

/// One user of a handle. When the last one is dropped, what is in flight on the descriptor ends, and it
/// is closed a moment later.
pub struct User {
    handle: Rc<IoHandle>,
}

impl User {
    /// The first user of a handle.
    pub(crate) fn new(handle: Rc<IoHandle>) -> User {
        User { handle }
    }

    /// Takes over a socket that is nobody else's and does not listen.
    pub(crate) fn take_over(fd: OwnedFd) -> io::Result<User> {
        sys::set_nonblocking(fd.as_raw_fd(), true)?;
        Ok(User { handle: Handle::new(Core::current(), fd) })
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        &self.handle
    }

    /// Another user of the same handle.
    pub(crate) fn share(&self) -> User {
        self.handle.add_user();
        User { handle: self.handle.clone() }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
