//! `recvmsg(2)` of datagrams into the core's buffers: by the kernel, until cancelled, or by the core
//! itself, one attempt at a time.
//!
//! What the kernel writes into a buffer of its choice (`struct io_uring_recvmsg_out`):
//!
//! ```text
//! │ lengths, flags │ address     │ control messages │ payload        │
//! │ 16 bytes       │ NAME_LENGTH │ CONTROL_LENGTH   │ the rest       │
//! ```

use std::io;
use std::rc::Rc;

use socket2::{SockAddr, SockAddrStorage};

use super::entry::BUFFER_SELECT;
use super::recv::UNTIL_CANCELLED;
use super::recvmsg::{Ancillary, Incoming, Message};
use super::{Code, Entry, Interest, Keeps, Op, Question, Row, Stream, Waits};
use crate::buf::{Lease, Pool};
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// Datagrams from a socket into the core's buffers, until cancelled.
///
/// Tried by `many_kept_datagrams_do_not_stop_the_next`.
pub(super) const MULTISHOT: Row = Row {
    question: Question::Entry(|misfit| recvmsg_multi(misfit.no_socket, 0)),
    stream: Some(Stream { entry: recvmsg_multi, takes_buffers: true }),
    ..Row::new("recvmsg-multishot", 10, "6.0")
};

/// The number under which the buffers for datagrams are registered.
pub(crate) const DATAGRAM_GROUP: u16 = 1;

/// The longest datagram, one that the kernel has put together from several (`UDP_GRO`) included.
pub(crate) const DATAGRAM_MAX: usize = 65_536;

/// A buffer for one datagram and what the kernel tells of it.
pub(crate) const DATAGRAM_BUFFER: usize = (DATAGRAM_MAX + PAYLOAD_START).next_multiple_of(64);

/// The lengths of address, control messages and payload, and the flags.
const HEAD_LENGTH: usize = 16;
/// Room for an address of IPv6.
const NAME_LENGTH: usize = size_of::<abi::sockaddr_in6>();
/// Room for all the control messages that a datagram socket can be told to give.
const CONTROL_LENGTH: usize = 192;
const PAYLOAD_START: usize = HEAD_LENGTH + NAME_LENGTH + CONTROL_LENGTH;

/// What tells the kernel how much room there is for what. It points to nothing.
struct Layout(abi::msghdr);

// SAFETY: it is never written to, and what it does not point to nobody can read.
unsafe impl Sync for Layout {}

static LAYOUT: Layout = {
    // SAFETY: all zeros is a header that names nothing.
    let mut header: abi::msghdr = unsafe { std::mem::zeroed() };
    header.msg_namelen = NAME_LENGTH as abi::socklen_t;
    header.msg_controllen = CONTROL_LENGTH as _;
    Layout(header)
};

/// The entry that receives datagrams until it is cancelled.
fn recvmsg_multi(fd: RawFd, _cap: u32) -> Entry {
    let (flags, buffer, ioprio) = (BUFFER_SELECT, DATAGRAM_GROUP, UNTIL_CANCELLED);
    Entry { flags, buffer, ioprio, ..MULTISHOT.entry(fd).memory(&raw const LAYOUT.0, 1) }
}

/// The payload in a buffer that the kernel has filled, and what it tells of it.
pub(crate) fn split_datagram(mut buffer: Lease) -> (Lease, Ancillary) {
    assert!(buffer.len() >= PAYLOAD_START, "the kernel wrote less than the head of a datagram");
    let number = |at: usize| {
        u32::from_ne_bytes(buffer[at..at + 4].try_into().expect("four bytes are four bytes"))
    };
    let [name, control, full_len] = [number(0), number(4), number(8)].map(|it| it as usize);
    let flags = number(12) as i32;
    let mut storage = SockAddrStorage::zeroed();
    let name = name.min(NAME_LENGTH);
    // SAFETY: an address has room for so many bytes, and any bytes are a valid storage.
    unsafe {
        let place = (&raw mut storage).cast::<u8>();
        place.copy_from_nonoverlapping(buffer[HEAD_LENGTH..].as_ptr(), name);
    }
    // SAFETY: the kernel has written an address of this length.
    let from = (name > 0).then(|| unsafe { SockAddr::new(storage, name as abi::socklen_t) });
    let incomplete = flags & abi::MSG_CTRUNC != 0;
    let mut ancillary = Ancillary { full_len, from, incomplete, ..Ancillary::default() };
    let control = &buffer[HEAD_LENGTH + NAME_LENGTH..][..control.min(CONTROL_LENGTH)];
    // SAFETY: each buffer is split once, and UDP brings no descriptors.
    unsafe { ancillary.take(control) };
    buffer.advance(PAYLOAD_START);
    (buffer, ancillary)
}

/// Receives a datagram into a buffer of the core. No buffer is held while it waits.
pub(crate) struct RecvDatagram<S> {
    socket: S,
    pool: Rc<Pool>,
    incoming: Box<Incoming>,
    lease: Option<Lease>,
}

impl<S> RecvDatagram<S> {
    pub(crate) fn new(socket: S, pool: Rc<Pool>) -> RecvDatagram<S> {
        RecvDatagram { socket, pool, incoming: Incoming::new(), lease: None }
    }
}

// SAFETY: there is no entry.
unsafe impl<S: Keeps<Message>> Op for RecvDatagram<S> {
    /// The bytes and what came with them, `None` if there was no buffer; and what keeps the socket
    /// open.
    type Output = (io::Result<Option<(Lease, Ancillary)>>, S);
    const CODE: Code = Code::RecvMsg;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let fd = self.fd();
        let Some(room) = self.pool.room() else {
            return Ok(0);
        };
        let header = self.incoming.header(room.memory.as_ptr(), room.len);
        // SAFETY: the header describes the room, which nobody else uses until `fill`, and memory
        // of this operation.
        let full_len = unsafe { sys::recvmsg(fd, header, abi::MSG_TRUNC) }?;
        let count = full_len.min(room.len as u32);
        // SAFETY: the kernel has written the first `count` bytes of the room.
        self.lease = Some(unsafe { self.pool.fill(count) });
        Ok(full_len)
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        let received = result.map(|full_len| {
            let lease = self.lease.take()?;
            let (_, ancillary) = self.incoming.arrived(full_len as usize);
            Some((lease, ancillary))
        });
        (received, self.socket)
    }

    fn discard(self, result: io::Result<u32>) {
        let (received, socket) = self.finish(result);
        if let Some(received) = received.transpose() {
            socket.keep(received.map(|(lease, ancillary)| {
                let bytes = lease.to_vec();
                Message { bytes, ancillary }
            }));
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_wrote_is_taken_apart() {
        let address: std::net::SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let raw = SockAddr::from(address);
        let mut bytes = vec![0; PAYLOAD_START];
        let lengths = [raw.len(), 0, 100, abi::MSG_TRUNC as u32];
        for (place, length) in bytes.chunks_exact_mut(4).zip(lengths) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        // SAFETY: an address is bytes.
        let name = unsafe { std::slice::from_raw_parts(raw.as_ptr().cast(), raw.len() as usize) };
        bytes[HEAD_LENGTH..][..name.len()].copy_from_slice(name);
        bytes.extend_from_slice(b"payload");
        let (payload, ancillary) = split_datagram(Lease::from_vec(bytes));
        assert_eq!((&payload[..], ancillary.full_len), (&b"payload"[..], 100));
        assert_eq!(ancillary.from.unwrap().as_socket(), Some(address));
    }
}
