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
use std::rc::Rc;

use crate::buf::Pool;
use crate::completion::{Loan, Orphan};
use crate::sys::fd::RawFd;

mod accept;
mod advise;
mod call;
mod cancel;
mod close;
mod connect;
mod entry;
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
mod table;
#[cfg(target_os = "linux")]
mod waitid;
mod write;

pub(crate) use accept::{accepted, Accept};
pub(crate) use advise::Advise;
pub(crate) use call::{Call, Waits};
pub(crate) use cancel::{cancel_sqe, CancelAnswer};
pub(crate) use close::{close_sqe, Close};
pub(crate) use connect::Connect;
pub(crate) use entry::{Entry, BUFFER_SELECT};
pub(crate) use fileio::{ReadAt, ReadVectoredAt, WriteAt, WriteVectoredAt};
pub(crate) use poll::{poll_sqe, Poll};
pub(crate) use read::{Mode, Read};
pub(crate) use recv::{recv_multi, Recv, RecvPooled, STREAM_GROUP};
pub(crate) use recvdatagram::{split_datagram, RecvDatagram};
pub(crate) use recvdatagram::{DATAGRAM_BUFFER, DATAGRAM_GROUP, DATAGRAM_MAX};
pub(crate) use recvmsg::{Ancillary, Message, RecvMsg, FDS_MAX};
pub(crate) use send::Send;
pub(crate) use sendmany::{Outgoing, SendMany};
pub(crate) use sendmsg::SendMsg;
pub(crate) use sendto::{is_busy, Envelope, SendTo};
pub(crate) use sendzc::SendZc;
pub(crate) use shutdown::Shutdown;
pub(crate) use socket::Socket;
#[cfg(target_os = "linux")]
pub(crate) use splice::{Quota, SpliceIn, SpliceOut, Spliced};
use table::codes;
pub(crate) use table::{Misfit, Question, Row, Stream};
#[cfg(target_os = "linux")]
pub(crate) use waitid::{Child, WaitChild};
pub(crate) use write::Write;

codes! {
    Accept = accept::ROW;
    AcceptMulti = accept::MULTISHOT;
    Advise = advise::ROW;
    Cancel = cancel::ROW;
    Close = close::ROW;
    Connect = connect::ROW;
    Poll = poll::ROW;
    Read = read::ROW;
    ReadFixed = fileio::READ_FIXED;
    ReadVectored = fileio::READ_VECTORED;
    Recv = recv::ROW;
    RecvMulti = recv::MULTISHOT;
    RecvMsg = recvmsg::ROW;
    RecvMsgMulti = recvdatagram::MULTISHOT;
    Send = send::ROW;
    SendMsg = sendmsg::ROW;
    SendZc = sendzc::ROW;
    Shutdown = shutdown::ROW;
    Socket = socket::ROW;
    #[cfg(target_os = "linux")]
    Splice = splice::ROW;
    #[cfg(target_os = "linux")]
    WaitId = waitid::ROW;
    Write = write::ROW;
    WriteFixed = fileio::WRITE_FIXED;
    WriteVectored = fileio::WRITE_VECTORED;
}

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

/// Keeps what an operation has got whose future was dropped: received bytes, a message, a connection,
/// the status of a child.
pub(crate) trait Keeps<T>: KeepsOpen {
    /// Keeps the outcome for the next operation of this kind.
    fn keep(&self, outcome: io::Result<T>);
}

/// Keeps a descriptor open, and knows the core's buffers for what comes from it.
pub(crate) trait HasPool: KeepsOpen {
    fn pool(&self) -> &Pool;
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
