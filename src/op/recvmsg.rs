//! `recvmsg(2)`: one message, with where it comes from and what came beside it.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;

use socket2::{SockAddr, SockAddrStorage};

use super::recv::filled;
use super::{Code, Entry, Interest, Keeps, Op, Question, Row, Waits};
use crate::buf::IoBufMut;
use crate::sys::abi;
use crate::sys::fd::{OwnedFd, RawFd};
use crate::sys::{self, ControlMessages};

/// One message from a socket, with its sender and what came beside it. (The question's header is only
/// read: without a descriptor it is not written to.)
///
/// Tried by `descriptors_go_along_with_bytes`.
pub(super) const ROW: Row = Row {
    question: Question::Entry(|misfit| ROW.entry(-1).memory(&raw const *misfit.header, 1)),
    ..Row::new("recvmsg", 10, "5.3")
};

/// The most descriptors that one message can bring (`SCM_MAX_FD`).
pub(crate) const FDS_MAX: usize = 253;

/// Room for control messages: so many descriptors, and all that a datagram brings.
const CONTROL_WORDS: usize = 160;

/// What came with the bytes of a message.
#[derive(Debug, Default)]
pub(crate) struct Ancillary {
    /// The length that the message had: more than was received if its end was cut off.
    pub(crate) full_len: usize,
    pub(crate) from: Option<SockAddr>,
    pub(crate) fds: Vec<OwnedFd>,
    /// Control messages were cut off: descriptors, for want of room in the process's table.
    pub(crate) incomplete: bool,
    /// The address that a datagram was sent to.
    pub(crate) to: Option<IpAddr>,
    /// The number of the interface that it came in by.
    pub(crate) interface: Option<u32>,
    /// The two bits of congestion notification, if they are asked for.
    pub(crate) ecn: Option<u8>,
    /// Datagrams of this length have been put together to one, the last of which may be shorter.
    pub(crate) segment: Option<usize>,
}

impl Ancillary {
    /// Takes in what stands in the control messages, which the kernel has made for us.
    ///
    /// # Safety
    /// Descriptors in them must not be owned by anybody yet.
    pub(super) unsafe fn take(&mut self, control: &[u8]) {
        for message in ControlMessages(control) {
            match message {
                (abi::SOL_SOCKET, abi::SCM_RIGHTS, data) => {
                    for number in data.chunks_exact(size_of::<RawFd>()) {
                        let number = RawFd::from_ne_bytes(number.try_into().expect("of that size"));
                        // SAFETY: the kernel has put it into our table for this message, and the
                        // caller vouches that nobody has taken it over.
                        let fd = unsafe { sys::own(number) };
                        sys::close_on_exec(&fd);
                        self.fds.push(fd);
                    }
                }
                (abi::IPPROTO_IP, kind, data) => {
                    let (to, interface) = sys::destination_v4(kind, data);
                    self.to = to.or(self.to);
                    self.interface = interface.or(self.interface);
                    self.ecn = sys::ecn_v4(kind, data).or(self.ecn);
                }
                (abi::IPPROTO_IPV6, abi::IPV6_PKTINFO, data) => {
                    if let Some((address, interface)) = data.split_first_chunk::<16>() {
                        self.to = Some(IpAddr::from(*address).to_canonical());
                        self.interface = first(interface).map(u32::from_ne_bytes);
                    }
                }
                (abi::IPPROTO_IPV6, abi::IPV6_TCLASS, data) => {
                    self.ecn = first(data).map(|class| (u32::from_ne_bytes(class) & 0b11) as u8);
                }
                #[cfg(target_os = "linux")]
                (abi::SOL_UDP, abi::UDP_GRO, data) => {
                    self.segment = first(data).map(|size| u32::from_ne_bytes(size) as usize);
                }
                _ => {}
            }
        }
    }
}

/// The first four bytes of what a control message says.
fn first(data: &[u8]) -> Option<[u8; 4]> {
    data.first_chunk().copied()
}

/// A message that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ancillary: Ancillary,
}

/// Receives one message into the caller's buffer. `S` keeps the socket open.
pub(crate) struct RecvMsg<S, B> {
    socket: S,
    buffer: B,
    /// How many bytes are asked for at most.
    limit: usize,
    flags: i32,
    incoming: Box<Incoming>,
}

/// What the entry points to.
pub(super) struct Incoming {
    header: abi::msghdr,
    vector: abi::iovec,
    name: SockAddrStorage,
    control: MaybeUninit<[u64; CONTROL_WORDS]>,
}

impl<S, B: IoBufMut> RecvMsg<S, B> {
    /// Receives of a stream.
    pub(crate) fn of_stream(socket: S, buffer: B) -> RecvMsg<S, B> {
        RecvMsg::new(socket, buffer, sys::MSG_CMSG_CLOEXEC)
    }

    /// Receives a datagram; what has no room in the buffer is cut off.
    pub(crate) fn datagram(socket: S, buffer: B) -> RecvMsg<S, B> {
        // With MSG_TRUNC the result is the length that it had.
        RecvMsg::new(socket, buffer, sys::MSG_CMSG_CLOEXEC | abi::MSG_TRUNC)
    }

    fn new(socket: S, buffer: B, flags: i32) -> RecvMsg<S, B> {
        RecvMsg { socket, buffer, limit: usize::MAX, flags, incoming: Incoming::new() }
    }

    fn is_of_stream(&self) -> bool {
        self.flags & abi::MSG_TRUNC == 0
    }

    /// How many bytes are asked for.
    fn len(&self) -> usize {
        self.limit.min(self.buffer.bytes_total()).min(sys::TRANSFER_MAX)
    }

    /// The header as it must be before each try.
    fn header(&mut self) -> &mut abi::msghdr {
        let len = self.len();
        self.incoming.header(self.buffer.stable_mut_ptr(), len)
    }
}

impl Incoming {
    pub(super) fn new() -> Box<Incoming> {
        Box::new(Incoming {
            // SAFETY: all zeros is a header that names nothing.
            header: unsafe { std::mem::zeroed() },
            vector: abi::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            name: SockAddrStorage::zeroed(),
            control: MaybeUninit::uninit(),
        })
    }

    /// The header for bytes that go to this memory.
    pub(super) fn header(&mut self, memory: *mut u8, len: usize) -> &mut abi::msghdr {
        let Incoming { header, vector, name, control } = self;
        vector.iov_base = memory.cast();
        vector.iov_len = len;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = name.size_of();
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(control) as _;
        header.msg_flags = 0;
        header
    }

    /// What came with the bytes, and how many of them are in the buffer. Once for each success.
    pub(super) fn arrived(&mut self, full_len: usize) -> (usize, Ancillary) {
        let Incoming { header, vector, name, control } = self;
        let length = header.msg_namelen.min(name.size_of());
        let name = std::mem::replace(name, SockAddrStorage::zeroed());
        // SAFETY: the kernel has written an address of this length.
        let from = (length > 0).then(|| unsafe { SockAddr::new(name, length) });
        let incomplete = header.msg_flags & abi::MSG_CTRUNC != 0;
        // Linux tells the full length of a datagram that was cut, other systems that it was cut.
        let cut = header.msg_flags & abi::MSG_TRUNC != 0;
        let full_len = if cut { full_len.max(vector.iov_len + 1) } else { full_len };
        let mut ancillary = Ancillary { full_len, from, incomplete, ..Ancillary::default() };
        #[allow(clippy::unnecessary_cast)] // it is not of the same type everywhere
        let filled = (header.msg_controllen as usize).min(size_of_val(control));
        // SAFETY: the kernel has written so many bytes.
        let filled = unsafe { std::slice::from_raw_parts(control.as_ptr().cast::<u8>(), filled) };
        // SAFETY: the kernel has just made these descriptors, and this is called once.
        unsafe { ancillary.take(filled) };
        (full_len.min(vector.iov_len), ancillary)
    }
}

// SAFETY: the entry points to the header, which is in a box with the name, the control messages and
// the vector; that points to the buffer, whose address `IoBufMut` promises to be stable.
unsafe impl<S: Keeps<Message>, B: IoBufMut> Op for RecvMsg<S, B> {
    /// How many bytes came, and what with them; the buffer, and what keeps the socket open.
    type Output = (io::Result<(usize, Ancillary)>, B, S);
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
        let entry = ROW.entry(self.fd()).memory(&raw const *self.header(), 1);
        Some(Entry { op_flags: self.flags as u32, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let (fd, flags) = (self.fd(), self.flags);
        // SAFETY: the header describes memory of this operation.
        unsafe { sys::recvmsg(fd, self.header(), flags) }
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        if self.is_of_stream() {
            self.limit = clip(self.len());
        }
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        let result = result.map(|full_len| self.incoming.arrived(full_len as usize));
        let count = result.as_ref().map_or(0, |(count, _)| *count as u32);
        filled(&mut self.buffer, &Ok(count));
        (result, self.buffer, self.socket)
    }

    fn discard(self, result: io::Result<u32>) {
        if matches!(result, Ok(0)) && self.is_of_stream() {
            // The end of the stream is found again by the next receive.
            return;
        }
        let (result, buffer, socket) = self.finish(result);
        socket.keep(result.map(|(count, ancillary)| {
            let bytes = buffer.as_slice()[..count].to_vec();
            Message { bytes, ancillary }
        }));
    }
}
