//! `poll(2)`: the wait for readiness.

use std::io;
use std::os::fd::RawFd;

#[cfg(target_os = "linux")]
use io_uring::{opcode, squeue::Entry, types::Fd};

use super::{Code, Interest, KeepsOpen, Op, Waits};
use crate::sys;

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
        Interest::Readable => libc::POLLIN | sys::POLLRDHUP,
        Interest::Writable => libc::POLLOUT,
    }
}

/// The entry for a wait that ends once.
#[cfg(target_os = "linux")]
pub(crate) fn poll_sqe(fd: RawFd, interest: Interest) -> Entry {
    opcode::PollAdd::new(Fd(fd), events(interest) as u32).build()
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

    #[cfg(target_os = "linux")]
    fn sqe(&mut self) -> Option<Entry> {
        Some(poll_sqe(self.fd(), self.interest))
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let mut fds = [libc::pollfd { fd: self.fd(), events: events(self.interest), revents: 0 }];
        match sys::poll(&mut fds, 0)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(fds[0].revents as u32),
        }
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        match result {
            Ok(events) if events & libc::POLLNVAL as u32 != 0 => {
                Err(io::Error::from_raw_os_error(libc::EBADF))
            }
            other => other.map(|_| self.descriptor),
        }
    }

    fn discard(self, _result: io::Result<u32>) {}
}
