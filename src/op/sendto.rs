//! `sendmsg(2)` of one buffer, with where it goes and what goes beside it.

use std::io;

use socket2::SockAddr;

use super::{Code, Entry, Interest, KeepsOpen, Op, Waits};
use crate::buf::IoBuf;
use crate::sys::abi;
use crate::sys::fd::{AsRawFd, OwnedFd, RawFd};
use crate::sys::{self, Control};

/// What goes with the bytes of a message.
#[derive(Default)]
pub(crate) struct Envelope {
    /// Where it goes, unless the socket is connected.
    pub(crate) to: Option<SockAddr>,
    pub(crate) control: Control,
    /// Descriptors that go along.
    fds: Vec<OwnedFd>,
    /// What it is put round.
    kind: Kind,
}

#[derive(Default, PartialEq, Eq)]
enum Kind {
    /// Bytes of a stream, of which a part may go.
    #[default]
    Stream,
    Datagram,
    /// A datagram to a socket of this machine: see [`Envelope::local`].
    LocalDatagram,
}

impl Envelope {
    /// A datagram to a Unix socket: to an address, or to where the socket is connected.
    ///
    /// Such a one must never be given to a ring. The kernel first copies the bytes, then finds that the
    /// other side's queue is full, and the ring, which tries again when there is room, goes on
    /// behind the bytes copied: an empty datagram arrives (seen on 6.18).
    pub(crate) fn local(to: Option<SockAddr>) -> Envelope {
        Envelope { to, kind: Kind::LocalDatagram, ..Envelope::default() }
    }

    /// A datagram to an address, or to where the socket is connected.
    pub(crate) fn datagram(to: Option<SockAddr>) -> Envelope {
        Envelope { to, kind: Kind::Datagram, ..Envelope::default() }
    }

    /// Lets descriptors go along. They stay open here until the message has gone out.
    pub(crate) fn with_fds(mut self, fds: Vec<OwnedFd>) -> Envelope {
        let numbers: Vec<u8> = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
        if !numbers.is_empty() {
            self.control.push(abi::SOL_SOCKET, abi::SCM_RIGHTS, &numbers);
        }
        self.fds = fds;
        self
    }
}

/// Sends a buffer as one message. `S` keeps the socket open.
pub(crate) struct SendTo<S, B> {
    socket: S,
    buffer: B,
    /// How many bytes to send at most.
    limit: usize,
    envelope: Envelope,
}

impl<S, B: IoBuf> SendTo<S, B> {
    pub(crate) fn new(socket: S, buffer: B, envelope: Envelope) -> SendTo<S, B> {
        let limit = buffer.bytes_init().min(sys::TRANSFER_MAX);
        SendTo { socket, buffer, limit, envelope }
    }

    /// Whether a full queue on the other side is something that nothing tells us the end of: only a
    /// connected socket becomes writable again.
    fn waits_in_vain(&self) -> bool {
        self.envelope.kind == Kind::LocalDatagram && self.envelope.to.is_some()
    }
}

// SAFETY: there is no entry.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for SendTo<S, B> {
    /// How many bytes went out; the buffer, the envelope, and what keeps the socket open.
    type Output = (io::Result<usize>, B, Envelope, S);
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

    /// It waits for nothing but a full queue of our own, so that nearly every attempt succeeds, at
    /// less than what an entry and its completion cost. (For a datagram to a Unix socket the ring is
    /// of no use at all: see [`Envelope::local`].)
    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let bytes = &self.buffer.as_slice()[..self.limit];
        let (base, iov_len) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
        let mut vector = abi::iovec { iov_base: base, iov_len };
        // SAFETY: all zeros is a header that names nothing.
        let mut header: abi::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if let Some(address) = &self.envelope.to {
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
        }
        let (control, length) = self.envelope.control.raw();
        header.msg_control = control;
        header.msg_controllen = length as _;
        // SAFETY: the header describes memory of this operation and the vector above.
        let sent = unsafe { sys::sendmsg(self.socket.fd(), &header) };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.waits_in_vain() => {
                Err(busy())
            }
            other => other,
        }
    }

    fn exhausts(&self, result: u32) -> bool {
        (result as usize) < self.limit
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        // A datagram goes whole.
        if self.envelope.kind == Kind::Stream {
            self.limit = clip(self.limit);
        }
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffer, self.envelope, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

/// The error of a call on a local socket whose other side has no room: nothing tells when it has.
pub(crate) fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "the other socket's queue is full")
}

/// Whether it is that error.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy && error.raw_os_error().is_none()
}
