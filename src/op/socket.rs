//! `socket(2)`: a new socket.

use std::io;

use super::{Code, Entry, Interest, Op, Question, Row, Waits};
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::{OwnedFd, RawFd};

/// A new socket. (The question is for one of an impossible family.)
///
/// Tried by `a_cancel_during_connect_leaves_nothing`.
pub(super) const ROW: Row = Row {
    question: Question::Entry(|_| socket(-1, abi::SOCK_STREAM)),
    ..Row::new("socket", 45, "5.19")
};

/// A new socket, close-on-exec and non-blocking.
pub(crate) struct Socket {
    domain: i32,
    kind: i32,
}

impl Socket {
    pub(crate) fn stream(domain: socket2::Domain) -> Socket {
        Socket { domain: domain.into(), kind: abi::SOCK_STREAM }
    }

    pub(crate) fn datagram(domain: socket2::Domain) -> Socket {
        Socket { domain: domain.into(), kind: abi::SOCK_DGRAM }
    }
}

fn socket(domain: i32, kind: i32) -> Entry {
    Entry { offset: kind as u64, ..ROW.entry(domain) }
}

// SAFETY: the entry points to nothing.
unsafe impl Op for Socket {
    type Output = io::Result<OwnedFd>;
    const CODE: Code = Code::Socket;

    fn fd(&self) -> RawFd {
        -1
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::Never
    }

    fn sqe(&mut self) -> Option<Entry> {
        Some(socket(self.domain, self.kind | sys::SOCKET_FLAGS))
    }

    fn attempt(&mut self) -> io::Result<u32> {
        use crate::sys::fd::IntoRawFd;
        let socket = sys::socket(self.domain, self.kind)?;
        Ok(socket.into_raw_fd() as u32)
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        // SAFETY: the result of this operation is a descriptor made for us.
        result.map(|fd| unsafe { sys::own(fd as RawFd) })
    }

    fn discard(self, result: io::Result<u32>) {
        drop(self.finish(result));
    }
}
