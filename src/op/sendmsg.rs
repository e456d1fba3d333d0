//! `sendmsg(2)`: several buffers to a socket, as one operation.

use std::io;

use super::{Code, Entry, Interest, KeepsOpen, Op, Question, Row, Waits};
use crate::buf::IoBuf;
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// Several buffers to a socket, or a message with an address.
///
/// Tried by `vectored_writes_go_on_where_they_stopped`.
pub(super) const ROW: Row = Row {
    question: Question::Entry(|misfit| ROW.entry(-1).memory(&raw const *misfit.header, 1)),
    ..Row::new("sendmsg", 9, "5.3")
};

/// Sends from the caller's buffers, in order. `S` keeps the socket open.
pub(crate) struct SendMsg<S, B> {
    socket: S,
    buffers: Vec<B>,
    message: Box<Message>,
}

/// What the entry points to.
struct Message {
    header: abi::msghdr,
    vectors: Vec<abi::iovec>,
    flags: i32,
}

impl<S, B: IoBuf> SendMsg<S, B> {
    /// Sends what follows the first `start` bytes of all buffers together; `all` as in `Send`.
    pub(crate) fn new(socket: S, buffers: Vec<B>, start: usize, all: bool) -> SendMsg<S, B> {
        let mut vectors = Vec::with_capacity(buffers.len().min(sys::VECTORS_MAX));
        let mut skip = start;
        for buffer in &buffers {
            let bytes = buffer.as_slice();
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            let bytes = &bytes[skipped..];
            if !bytes.is_empty() && vectors.len() < sys::VECTORS_MAX {
                let memory = bytes.as_ptr().cast_mut().cast();
                vectors.push(abi::iovec { iov_base: memory, iov_len: bytes.len() });
            }
        }
        // SAFETY: all zeros is a header that names nothing.
        let mut header: abi::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len() as _;
        let flags = abi::MSG_NOSIGNAL | if all { abi::MSG_WAITALL } else { 0 };
        SendMsg { socket, buffers, message: Box::new(Message { header, vectors, flags }) }
    }
}

impl Message {
    /// How many bytes there are.
    fn len(&self) -> usize {
        self.vectors.iter().map(|vector| vector.iov_len).sum()
    }

    /// Leaves out what is beyond the first `limit` bytes.
    fn truncate(&mut self, limit: usize) {
        let mut left = limit;
        for vector in &mut self.vectors {
            vector.iov_len = vector.iov_len.min(left);
            left -= vector.iov_len;
        }
        self.vectors.retain(|vector| vector.iov_len > 0);
        self.header.msg_iovlen = self.vectors.len() as _;
    }
}

// SAFETY: the entry points to the header, which is in a box; the header to the vectors, which are
// on the heap; the vectors to the buffers, whose addresses `IoBuf` promises to be stable.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for SendMsg<S, B> {
    /// How many bytes went out, the buffers, and what keeps the socket open.
    type Output = (io::Result<usize>, Vec<B>, S);
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

    fn sqe(&mut self) -> Option<Entry> {
        let entry = ROW.entry(self.fd()).memory(&raw const self.message.header, 1);
        Some(Entry { op_flags: self.message.flags as u32, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        // SAFETY: the vectors describe the buffers, which this operation owns.
        unsafe { sys::sendmsg(self.fd(), &self.message.header) }
    }

    fn exhausts(&self, result: u32) -> bool {
        (result as usize) < self.message.len()
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.message.truncate(clip(self.message.len()));
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.buffers, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl KeepsOpen for Nothing {
        fn fd(&self) -> RawFd {
            -1
        }
    }

    #[test]
    fn what_is_clipped_ends_within_a_buffer() {
        let mut op = SendMsg::new(Nothing, vec![&b"abc"[..], b"def", b"ghi"], 1, true);
        op.clip(&mut |len| {
            assert_eq!(len, 8);
            4
        });
        let lengths: Vec<usize> = op.message.vectors.iter().map(|it| it.iov_len).collect();
        assert_eq!((lengths, op.message.header.msg_iovlen as usize), (vec![2, 2], 2));
        assert!(op.exhausts(3) && !op.exhausts(4));
    }
}
