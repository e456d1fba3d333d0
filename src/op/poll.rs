//! `poll(2)`: the wait for readiness.

use std::io;

use super::{Code, Entry, Interest, KeepsOpen, Op, Row, Waits};
use crate::sys;
use crate::sys::abi;
use crate::sys::errno;
use crate::sys::fd::RawFd;

/// The wait for readiness.
///
/// Tried by `readiness_is_told_without_reading`.
pub(super) const ROW: Row = Row::new("poll", 6, "5.1");

/// Waits until a descriptor is readable or writable. `K` keeps it open.
pub(crate) struct Poll<K> {
    descriptor: K,
    interest: Interest,
}

impl<K> Poll<K> {
    pub(crate) fn new(descriptor: K, interest: Interest) -> Poll<K> {
        Poll { descriptor, interest }
    }
}

/// The events that end a wait for `interest`, in the words of poll(2). The end of the stream and
/// errors always do.
fn events(interest: Interest) -> i16 {
    match interest {
        Interest::Readable => abi::POLLIN | sys::POLLRDHUP,
        Interest::Writable => abi::POLLOUT,
    }
}

/// The entry for a wait that ends once.
pub(crate) fn poll_sqe(fd: RawFd, interest: Interest) -> Entry {
    let events = events(interest) as u32;
    // The kernel reads it as two halves, of which the lower was there first.
    let op_flags = if cfg!(target_endian = "big") { events.rotate_left(16) } else { events };
    Entry { op_flags, ..ROW.entry(fd) }
}

// SAFETY: the entry points to nothing.
unsafe impl<K: KeepsOpen> Op for Poll<K> {
    /// What keeps the descriptor open.
    type Output = io::Result<K>;
    const CODE: Code = Code::Poll;

    fn fd(&self) -> RawFd {
        self.descriptor.fd()
    }

    fn interest(&self) -> Interest {
        self.interest
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        Some(poll_sqe(self.fd(), self.interest))
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let mut fds = [abi::pollfd { fd: self.fd(), events: events(self.interest), revents: 0 }];
        match sys::poll(&mut fds, 0)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(fds[0].revents as u32),
        }
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        match result {
            Ok(events) if events & abi::POLLNVAL as u32 != 0 => {
                Err(io::Error::from_raw_os_error(errno::EBADF))
            }
            other => other.map(|_| self.descriptor),
        }
    }

    fn discard(self, _result: io::Result<u32>) {}
}
