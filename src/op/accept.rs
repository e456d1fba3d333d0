//! `accept(2)`: connections from a listener, one at a time or as a stream.

use std::io;

use super::{Code, Entry, Interest, Keeps, Op, Question, Row, Stream, Waits};
use crate::completion::Completion;
use crate::sys;
use crate::sys::fd::{IntoRawFd, OwnedFd, RawFd};

/// One connection from a listener.
///
/// Tried by `ten_tasks_accept_from_one_listener_and_end_on_close`.
pub(super) const ROW: Row = Row::new("accept", 13, "5.5");

/// Connections from a listener, until cancelled.
///
/// Tried by `dropped_accepts_lose_no_connection`.
pub(super) const MULTISHOT: Row = Row {
    question: Question::Entry(|misfit| accept_multi(misfit.no_socket, 0)),
    stream: Some(Stream { entry: accept_multi, takes_buffers: false }),
    ..Row::new("accept-multishot", 13, "5.19")
};

/// `IORING_ACCEPT_MULTISHOT`
const UNTIL_CANCELLED: u16 = 1;

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

/// The entry that accepts until it is cancelled. Each answer is a descriptor.
fn accept_multi(fd: RawFd, _cap: u32) -> Entry {
    let op_flags = sys::SOCKET_FLAGS as u32;
    Entry { ioprio: UNTIL_CANCELLED, op_flags, ..ROW.entry(fd) }
}

// SAFETY: the entry asks for no address, so that it points to nothing.
unsafe impl<L: Keeps<OwnedFd>> Op for Accept<L> {
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

    fn sqe(&mut self) -> Option<Entry> {
        Some(Entry { op_flags: sys::SOCKET_FLAGS as u32, ..ROW.entry(self.fd()) })
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
