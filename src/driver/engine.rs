//! The contract between the driver and its backends, which are engines: a ring, the readiness engine over
//! any selector, and what is left when the runtime has ended. The compiler holds each to the list of
//! [`Engine`], and each file follows its order.
//!
//! # The life of an engine
//! `open` (a function of each engine's own) makes one that is ready to use, or fails with a
//! [`SetupError`](super::SetupError) that tells the operator what to change. Then it is asked once for its
//! capabilities, its notifier, and its buffers for streams; for those for datagrams when they are first
//! wanted. From then on operations are started and turns made, in any order, all on the core's thread,
//! until `end`, after which nothing more is asked of it.
//!
//! # What it promises
//! - For each operation that was `Submitted` or `Parked` there is exactly one final completion, even after
//!   a cancel, even at the end, unless it was forgotten before (`unpark`). A multishot operation has items
//!   before it, and a zero-copy send its result. The operation's memory is not touched after it.
//! - A cancel is a wish: the completion still comes, and a success beats it.
//! - Completions come out of `turn` alone, and nothing else waits. `turn` returns when the time is over,
//!   when there are completions, or when the notifier was raised before or meanwhile; it may return early.
//!   An error of it is the end: nothing more will come.
//! - An engine never wakes tasks and never runs code of the user's, but for what an operation does in
//!   `attempt`. `turn` fills a batch; the runtime lets go of the driver, then wakes.
//!
//! # What it may rely on
//! - Whoever started an operation keeps its data until the final completion: the future, or the slot.
//! - A descriptor is named by operations only while it is open. Before it is closed, or goes to another
//!   core, nothing is in flight on it any more, and the engine is told.
//! - Which kind of waiting an operation knows has been looked at: `start` never gets one that
//!   [waits for a disk](crate::op::Waits::ForDisk). The driver attempts those itself, asks the engine to
//!   `submit` them, and if that has no form of them leaves them to a helper thread.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::buffers::Buffers;
use super::capabilities::Capabilities;
use super::config::Config;
use super::slots::Slots;
use crate::completion::{Completion, Sink, Token};
use crate::op::{Code, Interest, Op};
use crate::sys::fd::{OwnedFd, RawFd};
use crate::sys::Notify;

/// How long a turn may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// At most so long.
    For(Duration),
    /// Until something happens.
    Forever,
}

/// What became of an operation that was started.
pub(crate) enum Started {
    /// It finished without waiting.
    Done(io::Result<u32>),
    /// The kernel works on it: its completion is the result.
    Submitted(Token),
    /// It waits for readiness: after its completion it is to be started again.
    Parked(Token),
    /// It has to wait for a disk, and no ring does it: a helper thread is to make its `call`.
    Helper,
}

/// What the kernel was asked and has said, for the metrics.
#[derive(Default, Clone, Copy)]
pub(crate) struct Counts {
    /// System calls made to submit and wait.
    pub(crate) entries: u64,
    pub(crate) submissions: u64,
    pub(crate) completions: u64,
    pub(crate) overflows: u64,
}

/// A backend at work.
pub(super) trait Engine {
    /// What it can do, which stays as it is.
    fn capabilities(&self) -> Capabilities;

    /// What makes a turn return, from any thread: one that is under way, or the next.
    fn notifier(&self) -> Arc<dyn Notify>;

    /// The buffers for what streams receive. Asked for once.
    fn stream_buffers(&mut self, config: &Config) -> Buffers;

    /// The buffers for datagrams. Asked for once, when there is a socket for them. Multishot receives of
    /// datagrams are to be had if they have a ring.
    fn datagram_buffers(&mut self) -> Buffers;

    /// Registers memory with the ring: its place in the ring's table; `None` where there is no ring;
    /// else why it is refused.
    ///
    /// # Safety
    /// The memory must stay allocated until the place is given up or the engine has ended.
    unsafe fn register_buffers(
        &mut self,
        memory: NonNull<u8>,
        len: usize,
    ) -> Result<Option<u16>, String>;

    /// Gives a place of registered memory up. Nothing that is in flight names it.
    fn unregister_buffers(&mut self, place: u16);

    /// Starts an operation, or goes on with one that was parked: submits it, or attempts it, and parks
    /// it if it would have to wait.
    fn start<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Started;

    /// Submits an operation to the ring; `None` where there is no ring, or none that has a form of it.
    fn submit<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Option<Token>;

    /// The kernel has answered EAGAIN to an operation: waits for its descriptor; `None` if `start` would
    /// do so by itself, or there is no descriptor.
    fn park_after_again(
        &mut self,
        slots: &mut Slots,
        code: Code,
        fd: RawFd,
        interest: Interest,
    ) -> Option<Started>;

    /// Starts a multishot operation whose items go to `sink`, or one with a single item; only one that
    /// the engine [takes](Capabilities::takes).
    fn start_stream(
        &mut self,
        slots: &mut Slots,
        code: Code,
        fd: RawFd,
        sink: Rc<dyn Sink>,
    ) -> io::Result<Token>;

    /// Asks for an operation to end. Its completion still comes.
    fn cancel(&mut self, slots: &mut Slots, token: Token);

    /// Nobody is interested any more in an operation that is parked. Its completion may come, or not.
    fn unpark(&mut self, slots: &mut Slots, token: Token);

    /// Closes a descriptor that no operation names any more, with the next turn at the latest.
    fn close_detached(&mut self, slots: &mut Slots, fd: OwnedFd);

    /// A descriptor is about to be closed: forgets what is known of it.
    fn forget_descriptor(&mut self, fd: RawFd);

    /// A descriptor goes to another core, open: forgets it, and lets the kernel forget that it was
    /// watched here.
    fn release_descriptor(&mut self, fd: RawFd);

    /// Hands queued work to the kernel, waits at most `wait`, and collects completions.
    fn turn(
        &mut self,
        slots: &mut Slots,
        wait: Wait,
        batch: &mut Vec<Completion>,
    ) -> io::Result<()>;

    /// Whether `turn` would find something without waiting: for a core that spins.
    fn peek(&mut self, slots: &mut Slots) -> bool;

    /// What the kernel was asked and has said so far.
    fn counts(&self) -> Counts;

    /// It is about to be dropped. Nothing is in flight any more but what the kernel did not let go of.
    fn end(&mut self, slots: &mut Slots);

    /// The same in a child of fork: what the kernel has belongs to the parent, and is only let go of.
    /// Called between fork(2) and its return.
    fn end_in_fork(&mut self);
}

/// Attempts until it is not interrupted.
#[inline]
pub(super) fn attempt<O: Op>(op: &mut O) -> io::Result<u32> {
    loop {
        match op.attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
