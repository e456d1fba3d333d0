//! `accept(2)`: connections from a listener, one at a time or as a stream.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

#[cfg(target_os = "linux")]
use io_uring::{opcode, squeue::Entry, types::Fd};

use super::{Code, Interest, KeepsOpen, Op, Waits};
use crate::completion::Completion;
use crate::sys;

/// Where an accepted connection goes that nobody waits for any more.
pub(crate) trait Backlog: KeepsOpen {
    /// Keeps the outcome for the next accept.
    fn keep(&self, accepted: io::Result<OwnedFd>);
}

/// The connection in a completion of an accept.
pub(crate) fn accepted(completion: Completion) -> io::Result<OwnedFd> {
    // SAFETY: the result of this operation is a descriptor made for us.
    completion.into_result().map(|fd| unsafe { sys::own(fd as RawFd) })
}

/// Accepts one connection. `L` keeps the listener open.
pub(crate) struct Accept<L> {
    listener: L,
}

impl<L> Accept<L> {
    pub(crate) fn new(listener: L) -> Accept<L> {
        Accept { listener }
    }
}

/// The flags of the accepted socket.
#[cfg(target_os = "linux")]
const FLAGS: i32 = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// The entry that accepts until it is cancelled. Each answer is a descriptor.
#[cfg(target_os = "linux")]
pub(crate) fn accept_multi_sqe(fd: RawFd) -> Entry {
    opcode::AcceptMulti::new(Fd(fd)).flags(FLAGS).build()
}

// SAFETY: the entry asks for no address, so that it points to nothing.
unsafe impl<L: Backlog> Op for Accept<L> {
    type Output = io::Result<OwnedFd>;
    const CODE: Code = Code::Accept;

    fn fd(&self) -> RawFd {
        self.listener.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    #[cfg(target_os = "linux")]
    fn sqe(&mut self) -> Option<Entry> {
        let no_address = (std::ptr::null_mut(), std::ptr::null_mut());
        Some(opcode::Accept::new(Fd(self.fd()), no_address.0, no_address.1).flags(FLAGS).build())
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let accepted = sys::accept(self.fd())?;
        Ok(accepted.into_raw_fd() as u32)
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        // SAFETY: the result of this operation is a descriptor made for us.
        result.map(|fd| unsafe { sys::own(fd as RawFd) })
    }

    fn discard(self, result: io::Result<u32>) {
        // An error that nobody waits for says nothing of the connections to come.
        if let Ok(fd) = result {
            // SAFETY: the result of this operation is a descriptor made for us.
            self.listener.keep(Ok(unsafe { sys::own(fd as RawFd) }));
        }
    }
}
