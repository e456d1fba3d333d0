//! `close(2)`: the end of a descriptor.

use std::io;

use super::{Code, Entry, Interest, Op, Row, Waits};
use crate::sys;
use crate::sys::errno;
use crate::sys::fd::{AsRawFd, OwnedFd, RawFd};

/// The end of a descriptor.
///
/// Tried by `close_returns_once_the_descriptor_is_closed`.
pub(super) const ROW: Row = Row::new("close", 19, "5.6");

/// Closes a descriptor that no other operation names any more.
pub(crate) struct Close {
    fd: Option<OwnedFd>,
    number: RawFd,
}

impl Close {
    pub(crate) fn new(fd: OwnedFd) -> Close {
        Close { number: fd.as_raw_fd(), fd: Some(fd) }
    }
}

/// The entry for a close that nobody waits for.
pub(crate) fn close_sqe(fd: RawFd) -> Entry {
    ROW.entry(fd)
}

// SAFETY: the entry points to nothing.
unsafe impl Op for Close {
    type Output = io::Result<()>;
    const CODE: Code = Code::Close;

    fn fd(&self) -> RawFd {
        self.number
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::Never
    }

    fn sqe(&mut self) -> Option<Entry> {
        Some(close_sqe(self.number))
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let fd = self.fd.take().expect("a close is attempted once");
        sys::close(fd).map(|()| 0)
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        if let Some(fd) = self.fd.take() {
            use crate::sys::fd::IntoRawFd;
            match &result {
                // Cancelled before it ran: the descriptor is open still.
                Err(error) if error.raw_os_error() == Some(errno::ECANCELED) => drop(fd),
                // The kernel has closed the number: forget that we owned it.
                _ => drop(fd.into_raw_fd()),
            }
        }
        result.map(drop)
    }

    fn discard(self, result: io::Result<u32>) {
        if let Err(error) = self.finish(result) {
            tracing::debug!(target: "ringpark", %error, "closing a descriptor");
        }
    }
}
