//! `sendmmsg(2)`: several datagrams with one call.

use std::io;

use socket2::SockAddr;

use super::{Code, Entry, Interest, KeepsOpen, Op, Waits};
use crate::buf::IoBuf;
use crate::sys;
use crate::sys::fd::RawFd;

/// The most datagrams that one call takes (`UIO_MAXIOV`).
const DATAGRAMS_MAX: usize = 1024;

/// One datagram of several.
pub(crate) struct Outgoing<B> {
    pub(crate) buffer: B,
    pub(crate) to: SockAddr,
}

/// Sends datagrams, in order. `S` keeps the socket open.
pub(crate) struct SendMany<S, B> {
    socket: S,
    datagrams: Vec<Outgoing<B>>,
    /// Which of them is the first to go out.
    start: usize,
}

impl<S, B: IoBuf> SendMany<S, B> {
    /// Sends those that follow the first `start`, as many as there is room for.
    pub(crate) fn new(socket: S, datagrams: Vec<Outgoing<B>>, start: usize) -> SendMany<S, B> {
        SendMany { socket, datagrams, start }
    }
}

// SAFETY: there is no entry.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for SendMany<S, B> {
    /// How many datagrams went out, all of them, and what keeps the socket open.
    type Output = (io::Result<usize>, Vec<Outgoing<B>>, S);
    const CODE: Code = Code::SendMsg;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    /// The ring has no form of this call, and an entry for each datagram would cost more.
    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let datagrams = self.datagrams[self.start..].iter().take(DATAGRAMS_MAX);
        let parts = datagrams.map(|datagram| (datagram.buffer.as_slice(), &datagram.to));
        sys::sendmmsg(self.socket.fd(), parts)
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.datagrams, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
