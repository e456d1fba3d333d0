//! Kernel operations, a file each: its data, how it is asked for, what its answers mean.
//!
//! An operation has forms that stand side by side. `attempt` is the universal one: the system call, made
//! so that it does not wait; where it would have to, it says `WouldBlock`. `sqe` is the accelerator:
//! the same thing asked of a ring. How the operation waits then, [`Op::waits`] says, and the driver alone
//! decides by that what is done:
//!
//! | `waits` | on a ring | without one, or where it has no such form |
//! | --- | --- | --- |
//! | `Never` | the entry | attempted, which is the end of it |
//! | `ForReadiness` | the entry | attempted; after `WouldBlock` when its descriptor is ready for `interest` |
//! | `ForDisk` | attempted; after `WouldBlock` the entry | attempted; after `WouldBlock` a helper thread makes the `call` |
//!
//! So a missing opcode is a slower operation, never a missing feature.
//!
//! # The life of an operation
//!
//! | stage | who owns the data | who may touch the memory it points to |
//! | --- | --- | --- |
//! | not started | the future | the future |
//! | started, future alive | the future, which may move | the kernel |
//! | started, future dropped | the slot (one box) | the kernel |
//! | answered | `finish` or `discard`, exactly one of them | whoever gets it from there |
//! | answered, memory lent (a zero-copy send) | as above, and the slot has a share in the memory | the kernel reads it |
//!
//! The data may move while the kernel works, so whatever an entry points to lives on the heap.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

#[cfg(target_os = "linux")]
use io_uring::squeue::Entry;

use crate::completion::{Loan, Orphan};

mod accept;
mod call;
#[cfg(target_os = "linux")]
mod cancel;
mod close;
mod connect;
mod fileio;
mod poll;
mod read;
mod recv;
mod recvdatagram;
mod recvmsg;
mod send;
mod sendmany;
mod sendmsg;
mod sendto;
mod sendzc;
mod shutdown;
mod socket;
#[cfg(target_os = "linux")]
mod splice;
#[cfg(target_os = "linux")]
mod waitid;
mod write;

#[cfg(target_os = "linux")]
pub(crate) use accept::accept_multi_sqe;
pub(crate) use accept::{accepted, Accept, Backlog};
pub(crate) use call::{Call, Waits};
#[cfg(target_os = "linux")]
pub(crate) use cancel::{cancel_sqe, CancelAnswer};
#[cfg(target_os = "linux")]
pub(crate) use close::close_sqe;
pub(crate) use close::Close;
pub(crate) use connect::Connect;
pub(crate) use fileio::{ReadAt, ReadVectoredAt, WriteAt, WriteVectoredAt};
#[cfg(target_os = "linux")]
pub(crate) use poll::poll_sqe;
pub(crate) use poll::Poll;
pub(crate) use read::{Mode, Read};
#[cfg(target_os = "linux")]
pub(crate) use recv::{recv_multi_sqe, recv_piece_sqe};
pub(crate) use recv::{Leftovers, Recv, RecvPooled};
#[cfg(target_os = "linux")]
pub(crate) use recvdatagram::recvmsg_multi_sqe;
pub(crate) use recvdatagram::{split_datagram, RecvDatagram, DATAGRAM_BUFFER, DATAGRAM_MAX};
pub(crate) use recvmsg::{Ancillary, Mailbox, Message, RecvMsg, FDS_MAX};
pub(crate) use send::Send;
pub(crate) use sendmany::{Outgoing, SendMany};
pub(crate) use sendmsg::SendMsg;
pub(crate) use sendto::{is_busy, Envelope, SendTo};
pub(crate) use sendzc::SendZc;
pub(crate) use shutdown::Shutdown;
pub(crate) use socket::Socket;
#[cfg(target_os = "linux")]
pub(crate) use splice::{Quota, SpliceIn, SpliceOut, Spliced};
#[cfg(target_os = "linux")]
pub(crate) use waitid::{Parent, WaitChild};
pub(crate) use write::Write;

/// What must happen at a descriptor before an operation can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

/// Keeps a descriptor open while an operation works on it.
pub(crate) trait KeepsOpen: 'static {
    /// The number, which is open.
    fn fd(&self) -> RawFd;
}

/// One kernel operation.
///
/// # Safety
/// Everything that the entry made by `sqe` points to, or that `call` uses, lives on the heap, belongs to
/// the operation, keeps its address when the operation is moved, and stays allocated and untouched by
/// safe code until `finish` or `discard` takes the operation.
pub(crate) unsafe trait Op: Sized + 'static {
    /// What the future of the operation yields.
    type Output;

    /// The operation's row in the table.
    const CODE: Code;

    /// The descriptor that it works on; -1 for none.
    fn fd(&self) -> RawFd;

    /// The direction of the descriptor that it works in: whose readiness unblocks `attempt`, if that is
    /// what it waits for.
    fn interest(&self) -> Interest;

    /// How it may wait. The same each time, for one operation; nearly always for all of its type.
    fn waits(&self) -> Waits;

    /// The ring form; `None` where the ring would only hand a call that never waits for a disk to a
    /// worker thread, or where an attempt that nearly always succeeds costs less than an entry and its
    /// completion.
    #[cfg(target_os = "linux")]
    fn sqe(&mut self) -> Option<Entry>;

    /// The system call, as far as it does not have to wait; `WouldBlock` says that it would.
    fn attempt(&mut self) -> io::Result<u32>;

    /// The system call that waits for the disk. Asked for only of what [waits](Op::waits) for one.
    fn call(&mut self) -> Call {
        unreachable!("{:?} does not wait for a disk", Self::CODE)
    }

    /// Whether this success of `attempt` shows that the descriptor has no more to give, so that
    /// another attempt before the next readiness event would be in vain.
    fn exhausts(&self, _result: u32) -> bool {
        false
    }

    /// Asks for less at a time, where a success may always be short: `clip` says how much of so much.
    /// The driver does so under faults.
    fn clip(&mut self, _clip: &mut dyn FnMut(usize) -> usize) {}

    /// What the result means to the one who asked.
    fn finish(self, result: io::Result<u32>) -> Self::Output;

    /// What to do with the result now that nobody wants it: what it owns is handed on or closed.
    fn discard(self, result: io::Result<u32>);

    /// A share in the memory that the kernel goes on reading after the result. Asked for only where
    /// [`Code::is_answered_twice`].
    fn loan(&self) -> Rc<dyn Loan> {
        unreachable!("{:?} lends nothing", Self::CODE)
    }
}

impl<O: Op> Orphan for O {
    fn discard(self: Box<Self>, result: io::Result<u32>) {
        Op::discard(*self, result);
    }

    fn loan(&self) -> Rc<dyn Loan> {
        Op::loan(self)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $opcode:ident, $kernel:literal;)*) => {
        /// Every operation there is.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Code { $($(#[$doc])* $code,)* }

        /// The table of operations, in the order of `Code`.
        pub(crate) const TABLE: &[Row] = &[
            $(Row {
                name: $name,
                #[cfg(target_os = "linux")]
                opcode: io_uring::opcode::$opcode::CODE,
                kernel: $kernel,
            },)*
        ];
    };
}

/// One row of the table of operations.
pub(crate) struct Row {
    /// The name in metrics, traces and options.
    pub(crate) name: &'static str,
    /// The opcode of the ring form.
    #[cfg(target_os = "linux")]
    pub(crate) opcode: u8,
    /// The first kernel that has the ring form.
    pub(crate) kernel: &'static str,
}

codes! {
    /// One connection from a listener.
    Accept = "accept", Accept, "5.5";
    /// Connections from a listener, until cancelled.
    AcceptMulti = "accept-multishot", AcceptMulti, "5.19";
    /// The wish that another operation end.
    Cancel = "cancel", AsyncCancel, "5.5";
    /// The end of a descriptor.
    Close = "close", Close, "5.6";
    /// A connection to an address.
    Connect = "connect", Connect, "5.5";
    /// The wait for readiness.
    Poll = "poll", PollAdd, "5.1";
    /// Bytes from any descriptor.
    Read = "read", Read, "5.6";
    /// Bytes of a file, into registered memory.
    ReadFixed = "read-fixed", ReadFixed, "5.1";
    /// Bytes of a file, into several buffers.
    ReadVectored = "readv", Readv, "5.1";
    /// Bytes from a socket.
    Recv = "recv", Recv, "5.6";
    /// Bytes from a socket into the core's buffers, until cancelled.
    RecvMulti = "recv-multishot", RecvMulti, "6.0";
    /// One message from a socket, with its sender and what came beside it.
    RecvMsg = "recvmsg", RecvMsg, "5.3";
    /// Datagrams from a socket into the core's buffers, until cancelled.
    RecvMsgMulti = "recvmsg-multishot", RecvMsgMulti, "6.0";
    /// Bytes to a socket.
    Send = "send", Send, "5.6";
    /// Several buffers to a socket, or a message with an address.
    SendMsg = "sendmsg", SendMsg, "5.3";
    /// Bytes to a socket, out of the memory that they are in.
    SendZc = "send-zc", SendZc, "6.0";
    /// The end of one or both halves of a connection. Attempted at once: the ring would punt it.
    Shutdown = "shutdown", Shutdown, "5.11";
    /// A new socket.
    Socket = "socket", Socket, "5.19";
    /// Bytes from socket to socket, inside the kernel. Attempted: the ring would punt it.
    Splice = "splice", Splice, "5.7";
    /// The end of a child process.
    WaitId = "waitid", WaitId, "6.7";
    /// Bytes to any descriptor.
    Write = "write", Write, "5.6";
    /// Bytes to a file, from registered memory.
    WriteFixed = "write-fixed", WriteFixed, "5.1";
    /// Bytes to a file, from several buffers.
    WriteVectored = "writev", Writev, "5.1";
}

impl Code {
    /// The operation's row.
    pub(crate) fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The operation's name.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the kernel may answer twice: with the result, and when it has let go of the memory.
    pub(crate) const fn is_answered_twice(self) -> bool {
        matches!(self, Code::SendZc)
    }

    /// Whether it takes buffers of the core as it goes, of which there may be none.
    pub(crate) const fn takes_buffers(self) -> bool {
        matches!(self, Code::Recv | Code::RecvMulti | Code::RecvMsgMulti)
    }

    /// All operations, in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = Code> {
        const ALL: [Code; TABLE.len()] = [
            Code::Accept,
            Code::AcceptMulti,
            Code::Cancel,
            Code::Close,
            Code::Connect,
            Code::Poll,
            Code::Read,
            Code::ReadFixed,
            Code::ReadVectored,
            Code::Recv,
            Code::RecvMulti,
            Code::RecvMsg,
            Code::RecvMsgMulti,
            Code::Send,
            Code::SendMsg,
            Code::SendZc,
            Code::Shutdown,
            Code::Socket,
            Code::Splice,
            Code::WaitId,
            Code::Write,
            Code::WriteFixed,
            Code::WriteVectored,
        ];
        ALL.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_codes() {
        for (index, code) in Code::all().enumerate() {
            assert_eq!(code as usize, index);
            assert!(!code.name().is_empty() && code.row().kernel.contains('.'));
        }
        assert_eq!(Code::all().count(), TABLE.len());
    }
}
