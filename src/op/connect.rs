//! `connect(2)`: a connection to an address.

use std::io;

use socket2::{SockAddr, SockRef};

use super::sendto::busy;
use super::{Code, Entry, Interest, KeepsOpen, Op, Question, Row, Waits};
use crate::sys;
use crate::sys::errno;
use crate::sys::fd::RawFd;

/// A connection to an address.
///
/// Tried by `connect_goes_on_to_the_next_address`.
pub(super) const ROW: Row = Row {
    question: Question::Entry(|misfit| Entry {
        address: misfit.address.as_ptr() as u64,
        offset: size_of_val(&*misfit.address) as u64,
        ..ROW.entry(-1)
    }),
    ..Row::new("connect", 16, "5.5")
};

/// Connects a socket. `K` keeps it open.
pub(crate) struct Connect<K> {
    socket: K,
    /// On the heap, since the entry points to it.
    address: Box<SockAddr>,
    /// An attempt is under way: the next one asks how it went.
    started: bool,
}

impl<K> Connect<K> {
    /// Whether it is to a socket of this machine. Such a connect is done or refused at once; if the
    /// listener's queue is full, nothing tells when it is not.
    fn is_local(&self) -> bool {
        self.address.is_unix()
    }
}

impl<K> Connect<K> {
    pub(crate) fn new(socket: K, address: SockAddr) -> Connect<K> {
        Connect { socket, address: Box::new(address), started: false }
    }
}

// SAFETY: the entry points to the address, which is in a box that only this operation has.
unsafe impl<K: KeepsOpen> Op for Connect<K> {
    type Output = io::Result<K>;
    const CODE: Code = Code::Connect;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        if self.is_local() {
            // The ring would leave the wait for a full listener to a worker thread.
            return None;
        }
        let (address, offset) = (self.address.as_ptr() as u64, self.address.len().into());
        Some(Entry { address, offset, ..ROW.entry(self.fd()) })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        // SAFETY: `socket` keeps it open.
        let fd = unsafe { sys::borrow(self.fd()) };
        let socket = SockRef::from(&fd);
        if self.started {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            // No error is no success yet: readiness may have been told of an earlier state.
            return match socket.peer_addr() {
                Ok(_) => Ok(0),
                Err(error) if error.raw_os_error() == Some(errno::ENOTCONN) => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            };
        }
        let begun = socket.connect(&self.address);
        if self.is_local() {
            return match begun {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(busy()),
                other => other.map(|()| 0),
            };
        }
        self.started = true;
        match begun.as_ref().map_err(io::Error::raw_os_error) {
            Ok(()) => Ok(0),
            Err(Some(errno::EINPROGRESS | errno::EALREADY | errno::EINTR)) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(_) => begun.map(|()| 0),
        }
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        result.map(|_| self.socket)
    }

    /// The socket goes with the operation: a connection that came too late is closed.
    fn discard(self, _result: io::Result<u32>) {}
}
