//! `send(2)` out of the memory that the bytes are in, where the ring can do that: they are not copied
//! into the kernel, which goes on reading them until the peer has acknowledged them.
//!
//! It is answered twice: with its result, and when the kernel has let go of the memory (see `Slots`).
//! So the buffer is shared from the start: between this operation, whoever wants it back, and the slot.

use std::io;
use std::rc::Rc;

use super::{Code, Entry, Interest, KeepsOpen, Op, Row, Send, Waits};
use crate::buf::{IoBuf, Lent, Usage};
use crate::completion::Loan;
use crate::sys::fd::RawFd;

/// Bytes to a socket, out of the memory that they are in.
///
/// Tried by `zero_copy_over_loopback_is_reported_as_copied`.
pub(super) const ROW: Row = Row { answered_twice: true, ..Row::new("send-zc", 47, "6.0") };

/// `IORING_SEND_ZC_REPORT_USAGE` (6.2): the notification says whether the bytes were copied.
const REPORT_USAGE: u16 = 1 << 3;

/// Sends from a buffer that is lent. `S` keeps the socket open.
pub(crate) struct SendZc<S, B> {
    /// The same, as an ordinary send.
    send: Send<S, Rc<Lent<B>>>,
    /// The kernel is to say whether it has copied.
    report: bool,
}

impl<S, B: IoBuf> SendZc<S, B> {
    /// Like [`Send::all`] in everything else.
    pub(crate) fn all(socket: S, buffer: Rc<Lent<B>>, start: usize, report: bool) -> SendZc<S, B> {
        SendZc { send: Send::all(socket, buffer, start), report }
    }
}

// SAFETY: the entry points to the memory of the buffer, whose address `IoBuf` promises to be stable,
// and which is shared by all that is made of `Lent`: it stays allocated, and nobody gets it back, until
// the operation and the share that the slot has of it are gone.
unsafe impl<S: KeepsOpen, B: IoBuf> Op for SendZc<S, B> {
    /// As for an ordinary send. The buffer may still be lent.
    type Output = (io::Result<usize>, Rc<Lent<B>>, S);
    const CODE: Code = Code::SendZc;

    fn fd(&self) -> RawFd {
        self.send.fd()
    }

    fn interest(&self) -> Interest {
        self.send.interest()
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        let bytes = self.send.bytes();
        let entry = ROW.entry(self.fd()).memory(bytes.as_ptr(), bytes.len());
        let ioprio = if self.report { REPORT_USAGE } else { 0 };
        Some(Entry { ioprio, op_flags: self.send.flags() as u32, ..entry })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let sent = self.send.attempt()?;
        self.send.buffer().note(Usage::Copied);
        Ok(sent)
    }

    fn exhausts(&self, result: u32) -> bool {
        self.send.exhausts(result)
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.send.clip(clip);
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        self.send.finish(result)
    }

    fn discard(self, result: io::Result<u32>) {
        Op::discard(self.send, result);
    }

    fn loan(&self) -> Rc<dyn Loan> {
        self.send.buffer().clone()
    }
}
