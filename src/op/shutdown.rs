//! `shutdown(2)`: the end of one or both halves of a connection.

use std::io;
use std::net;

use socket2::SockRef;

use super::{Code, Entry, Interest, KeepsOpen, Op, Question, Row, Waits};
use crate::sys;
use crate::sys::fd::RawFd;

/// The end of one or both halves of a connection.
///
/// Tried by `shutdown_of_writing_leaves_reading_alone`.
pub(super) const ROW: Row = Row { question: Question::Never, ..Row::new("shutdown", 34, "5.11") };

/// Shuts a socket down. `K` keeps the descriptor open.
pub(crate) struct Shutdown<K> {
    socket: K,
    how: net::Shutdown,
}

impl<K> Shutdown<K> {
    pub(crate) fn new(socket: K, how: net::Shutdown) -> Shutdown<K> {
        Shutdown { socket, how }
    }
}

// SAFETY: there is no entry.
unsafe impl<K: KeepsOpen> Op for Shutdown<K> {
    type Output = io::Result<()>;
    const CODE: Code = Code::Shutdown;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::Never
    }

    /// The ring hands every shutdown to a worker thread, and the call never blocks.
    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        // SAFETY: `socket` keeps it open.
        let socket = unsafe { sys::borrow(self.fd()) };
        SockRef::from(&socket).shutdown(self.how).map(|()| 0)
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        result.map(drop)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
