//! The driver: the one place where a core meets its kernel.
//!
//! A backend is five functions. Each backend's file follows this order.
//!
//! - `open(config)`: ready to use, or a [`SetupError`] that tells the operator what to change.
//! - `start(&mut op)`: `Done(result)` if it finished without waiting, else `Submitted` or `Parked`,
//!   with the token of its slot.
//! - `cancel(token)`: ask. The completion still comes, exactly once, and a success beats the cancel.
//! - `turn(wait, &mut batch)`: hand queued work to the kernel, wait at most `wait`, collect
//!   completions.
//! - the notifier: to raise it makes a concurrent or later `turn` return. `Shared::notify` does so,
//!   coalesced.
//!
//! The promise: for each operation that was not done at once there is exactly one final completion
//! (a multishot operation has items before it, and a zero-copy send its result), even after a
//! cancel, even at shutdown, and the operation's memory is not touched after it. Backends never wake
//! tasks and never run user code: `turn` fills a batch, the runtime lets go of the driver, then
//! wakes.
//!
//! # Selection
//! [`choose`] takes the environment (`RINGPARK_BACKEND`), then the builder, then the best that works
//! here. A forced choice that fails is an error; an automatic one falls back, and says why.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::buf::{Pool, PoolConfig};
use crate::completion::{Completion, Orphan, Sink, Token};
use crate::op::{Code, Interest, Op, Waits};
use crate::sync::Home;
use crate::sys::Notify;

mod choose;
mod config;
mod error;
mod fault;
mod ready;
mod slots;
#[cfg_attr(not(target_os = "linux"), path = "no_uring.rs")]
pub(crate) mod uring;

pub(crate) use choose::{choose, open_one, select, Chosen};
pub use config::{Backend, Feature, UnknownName};
pub(crate) use config::{Config, Features};
pub use error::{NotPollable, SetupError};
pub(crate) use fault::Faults;
pub(crate) use slots::{Delivery, Slots};

use ready::Ready;
use uring::Uring;

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

// One per core, and matched on at every submission: boxing the larger one would gain nothing.
#[allow(clippy::large_enum_variant)]
enum Engine {
    Uring(Uring),
    Ready(Ready),
    /// The runtime has ended: nothing can be started any more.
    Ended,
}

/// A core's driver: the backend, and the operations in flight on it.
pub(crate) struct Driver {
    engine: Engine,
    pub(crate) slots: Slots,
    faults: Option<Box<Faults>>,
    backend: Backend,
    splices: bool,
    /// Whether a zero-copy send may be asked to say whether it has copied: so it seems, until the
    /// kernel refuses to (before 6.2).
    reports_usage: bool,
    /// The counts as they were when the backend ended.
    last: Counts,
    /// This process is a fork of the one that the backend belongs to.
    forked: bool,
}

/// The error of everything that is asked of a runtime that has ended.
fn ended() -> io::Error {
    io::Error::other("the runtime of this handle has ended")
}

impl Driver {
    fn new(engine: Engine, backend: Backend, config: &Config) -> Driver {
        let faults = config.faults.map(|seed| Box::new(Faults::new(seed)));
        let splices = config.features.has(Feature::Splice);
        Driver {
            engine,
            slots: Slots::new(),
            faults,
            backend,
            splices,
            reports_usage: true,
            last: Counts::default(),
            forked: false,
        }
    }

    /// Whether relays may splice.
    #[cfg(target_os = "linux")]
    pub(crate) fn splices(&self) -> bool {
        self.splices
    }

    /// Whether zero-copy sends may be asked to say whether they have copied.
    pub(crate) fn reports_usage(&self) -> bool {
        self.reports_usage
    }

    /// The kernel refuses to say it, and need not be asked again.
    pub(crate) fn forget_reports(&mut self) {
        self.reports_usage = false;
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    pub(crate) fn counts(&self) -> Counts {
        match &self.engine {
            Engine::Uring(uring) => uring.counts(),
            Engine::Ready(ready) => ready.counts(),
            Engine::Ended => self.last,
        }
    }

    /// Whether what is read from and written to is to be non-blocking: on a ring these operations do not
    /// wait for a descriptor that is. Those of sockets do (they look at `MSG_DONTWAIT`, not at the
    /// mode), and so sockets are non-blocking everywhere, for the calls that the core makes itself.
    pub(crate) fn wants_nonblocking(&self) -> bool {
        matches!(self.engine, Engine::Ready(_))
    }

    /// The buffers that suit the backend.
    pub(crate) fn pool_config(&self, config: &Config) -> PoolConfig {
        match &self.engine {
            Engine::Uring(uring) => uring.pool_config(),
            _ => config.pool.unwrap_or(ready::POOL),
        }
    }

    /// Whether there is a ring that takes this operation.
    pub(crate) fn takes(&self, code: Code) -> bool {
        matches!(&self.engine, Engine::Uring(uring) if uring.has(code))
    }

    /// Whether multishot accepts are to be had.
    pub(crate) fn has_multishot_accept(&self) -> bool {
        match &self.engine {
            Engine::Uring(uring) => uring.has(Code::AcceptMulti),
            _ => false,
        }
    }

    /// Whether multishot receives into the pool's buffers are to be had.
    pub(crate) fn has_multishot_recv(&self) -> bool {
        match &self.engine {
            Engine::Uring(uring) => uring.has(Code::RecvMulti),
            _ => false,
        }
    }

    /// Whether the kernel goes on filling a buffer where the last receive ended.
    pub(crate) fn fills_on(&self) -> bool {
        match &self.engine {
            Engine::Uring(uring) => uring.fills_on(),
            _ => false,
        }
    }

    /// Whether multishot receives of datagrams into buffers of the core are to be had.
    pub(crate) fn has_multishot_recvmsg(&self) -> bool {
        match &self.engine {
            #[cfg(target_os = "linux")]
            Engine::Uring(uring) => uring.has(Code::RecvMsgMulti),
            _ => false,
        }
    }

    /// Makes the pool from which datagrams get their buffers, with a ring of its own where there are
    /// rings.
    pub(crate) fn datagram_pool(&mut self, home: Arc<dyn Home>) -> Rc<Pool> {
        match &mut self.engine {
            #[cfg(target_os = "linux")]
            Engine::Uring(uring) => uring.datagram_pool(home),
            _ => Pool::with_room(ready::DATAGRAMS, crate::op::DATAGRAM_MAX, home),
        }
    }

    /// Gives the pool the kernel's ring of buffers, where there is one.
    pub(crate) fn attach(&mut self, pool: &Rc<Pool>) {
        if let Engine::Uring(uring) = &mut self.engine {
            uring.attach(pool);
        }
    }

    /// Registers memory with the ring: its place in the ring's table; `None` where there is no ring;
    /// else why it is refused.
    ///
    /// # Safety
    /// The memory must stay allocated until the place is given up or the backend has ended.
    pub(crate) unsafe fn register_buffers(
        &mut self,
        memory: NonNull<u8>,
        len: usize,
    ) -> Result<Option<u16>, String> {
        match &mut self.engine {
            // SAFETY: the caller keeps the memory.
            Engine::Uring(uring) => unsafe { uring.register_buffers(memory, len) }.map(Some),
            Engine::Ready(_) | Engine::Ended => Ok(None),
        }
    }

    /// Gives a place of registered memory up. Nothing that is in flight may name it.
    pub(crate) fn unregister_buffers(&mut self, place: u16) {
        if let Engine::Uring(uring) = &mut self.engine {
            uring.unregister_buffers(place);
        }
    }

    /// Starts an operation, or goes on with one that was parked.
    pub(crate) fn start<O: Op>(&mut self, op: &mut O) -> Started {
        if let Some(faults) = &mut self.faults {
            if let Some(errno) = faults.refuse(O::CODE) {
                let token = self.slots.insert(O::CODE, op.fd());
                faults.answer(Completion::errno(token, errno));
                return Started::Submitted(token);
            }
        }
        if op.waits() == Waits::ForDisk {
            return self.start_on_disk(op);
        }
        match &mut self.engine {
            Engine::Uring(uring) => uring.start(&mut self.slots, op),
            Engine::Ready(ready) => ready.start(&mut self.slots, op),
            Engine::Ended => Started::Done(Err(self.ended())),
        }
    }

    /// What is in memory already is had at once. For the rest the ring has threads of its own.
    fn start_on_disk<O: Op>(&mut self, op: &mut O) -> Started {
        match attempt(op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Started::Done(result),
        }
        let submitted = match &mut self.engine {
            Engine::Uring(uring) => uring.submit(&mut self.slots, op),
            Engine::Ready(_) | Engine::Ended => None,
        };
        submitted.map_or(Started::Helper, Started::Submitted)
    }

    /// Waits for the readiness of a descriptor, whatever was tried before.
    pub(crate) fn park(&mut self, code: Code, fd: RawFd, interest: Interest) -> Started {
        match &mut self.engine {
            Engine::Uring(uring) => uring.park(&mut self.slots, code, fd, interest),
            Engine::Ready(ready) => ready.park(&mut self.slots, code, fd, interest),
            Engine::Ended => Started::Done(Err(self.ended())),
        }
    }

    /// The kernel said EAGAIN: waits for readiness, or for the disk in another way; `None` to start the
    /// operation again at once.
    pub(crate) fn park_after_again<O: Op>(&mut self, op: &O) -> Option<Started> {
        if op.waits() == Waits::ForDisk {
            // It would be ready at once, and no further for that.
            return Some(Started::Helper);
        }
        match &self.engine {
            Engine::Uring(_) if op.fd() >= 0 => Some(self.park(O::CODE, op.fd(), op.interest())),
            // A readiness backend looks at the descriptor itself before it waits. (Nothing but a
            // fault is answered with EAGAIN there.)
            _ => None,
        }
    }

    /// Starts a multishot operation whose items go to `sink`, or one with a single item. Rings only.
    pub(crate) fn start_stream(
        &mut self,
        code: Code,
        fd: RawFd,
        sink: Rc<dyn Sink>,
    ) -> Option<Token> {
        match &mut self.engine {
            Engine::Uring(uring) => Some(uring.start_stream(&mut self.slots, code, fd, sink)),
            _ => None,
        }
    }

    /// The result, if it has come, else remembers whom to wake: see [`Slots::take`].
    pub(crate) fn take<O: Op>(
        &mut self,
        token: Token,
        waker: &Waker,
        op: &O,
    ) -> Option<Completion> {
        let completion = self.slots.take(token, waker)?;
        if O::CODE.is_answered_twice() {
            self.slots.settle(completion, op.loan());
        }
        Some(completion)
    }

    /// Asks for an operation to end. Its completion still comes.
    pub(crate) fn cancel(&mut self, token: Token) {
        if self.faults.as_ref().is_some_and(|faults| faults.will_answer(token)) {
            return;
        }
        if let Engine::Ready(ready) = &mut self.engine {
            ready.cancel(&mut self.slots, token);
        } else {
            self.slots.want_cancel(token);
        }
    }

    /// The future of a submitted operation is gone: its data stays here until the answer.
    pub(crate) fn orphan<O: Op>(&mut self, token: Token, op: O) -> Option<(O, Completion)> {
        let mut op = Some(op);
        let done = self.slots.orphan(token, || op.take().map(|op| Box::new(op) as Box<dyn Orphan>));
        let Some(completion) = done else {
            self.cancel(token);
            return None;
        };
        let op = op.expect("what is done is not kept");
        if O::CODE.is_answered_twice() {
            self.slots.settle(completion, op.loan());
        }
        Some((op, completion))
    }

    /// The future of a parked operation is gone: nothing needs to be kept.
    pub(crate) fn unpark(&mut self, token: Token) {
        if self.slots.orphan(token, || None).is_some() {
            return;
        }
        match &mut self.engine {
            Engine::Ready(ready) => ready.forget(&mut self.slots, token),
            _ => self.slots.want_cancel(token),
        }
    }

    /// Closes a descriptor that no operation names any more, without waiting for it.
    pub(crate) fn close_detached(&mut self, fd: std::os::fd::OwnedFd) {
        match &mut self.engine {
            Engine::Uring(uring) => uring.close_detached(&mut self.slots, fd),
            Engine::Ready(ready) => {
                ready.forget_descriptor(std::os::fd::AsRawFd::as_raw_fd(&fd));
                drop(fd);
            }
            Engine::Ended => drop(fd),
        }
    }

    /// A descriptor is about to be closed: forgets what is known of it.
    pub(crate) fn forget_descriptor(&mut self, fd: RawFd) {
        if let Engine::Ready(ready) = &mut self.engine {
            ready.forget_descriptor(fd);
        }
    }

    /// A descriptor that nothing is in flight on goes to another core, open: forgets it, and lets the
    /// kernel forget that it was watched here.
    pub(crate) fn release_descriptor(&mut self, fd: RawFd) {
        if let Engine::Ready(ready) = &mut self.engine {
            ready.release_descriptor(fd);
        }
    }

    /// Hands queued work to the kernel, waits, and collects completions. An error is the end of the
    /// backend: nothing more will come from it.
    pub(crate) fn turn(&mut self, wait: Wait, batch: &mut Vec<Completion>) -> io::Result<()> {
        let wait = match &self.faults {
            Some(faults) if faults.holds_something() => Wait::No,
            _ => wait,
        };
        match &mut self.engine {
            Engine::Uring(uring) => uring.turn(&mut self.slots, wait, batch)?,
            Engine::Ready(ready) => ready.turn(&mut self.slots, wait, batch)?,
            Engine::Ended if self.forked => return Err(self.ended()),
            Engine::Ended => {}
        }
        if let Some(faults) = &mut self.faults {
            faults.disturb(batch);
        }
        Ok(())
    }

    /// Whether `turn` would find something without a system call: for a core that spins.
    pub(crate) fn peek(&mut self) -> bool {
        match &mut self.engine {
            Engine::Uring(uring) => uring.peek(),
            Engine::Ready(ready) => ready.peek(&mut self.slots),
            Engine::Ended => false,
        }
    }

    /// Whom to wake so that the operation's owner looks at it again.
    pub(crate) fn waker(&mut self, token: Token) -> Option<Waker> {
        self.slots.waker(token)
    }

    /// How much of a transfer may be asked for at once: less than there is, under faults.
    pub(crate) fn clip(&mut self, len: usize) -> usize {
        match &mut self.faults {
            Some(faults) => faults.clip(len),
            None => len,
        }
    }

    /// Whether a receive is to find no buffer, under faults.
    pub(crate) fn pretends_no_buffer(&mut self) -> bool {
        self.faults.as_mut().is_some_and(|faults| faults.no_buffer())
    }

    /// This process is a fork: the ring or the selector is its parent's, and is only let go of.
    /// Called between fork(2) and its return, so there is nothing but memory to free and descriptors
    /// to close. (The rings themselves are not mapped here: `dontfork`.)
    pub(crate) fn end_in_fork(&mut self) {
        self.last = self.counts();
        self.forked = true;
        self.faults = None;
        if let Engine::Uring(uring) = &self.engine {
            uring.end_in_fork();
        }
        self.engine = Engine::Ended;
    }

    fn ended(&self) -> io::Error {
        match self.forked {
            true => io::Error::other(
                "this process is a fork of the one that the runtime belongs to, and cannot use it",
            ),
            false => ended(),
        }
    }

    /// The backend goes: closes the ring or the selector.
    pub(crate) fn end(&mut self) {
        self.last = self.counts();
        if let Engine::Uring(uring) = &mut self.engine {
            uring.end(&mut self.slots);
        }
        self.engine = Engine::Ended;
    }
}

/// Attempts until it is not interrupted.
fn attempt<O: Op>(op: &mut O) -> io::Result<u32> {
    loop {
        match op.attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A driver that is ready to use.
pub(crate) struct Opened {
    pub(crate) driver: Driver,
    /// What makes a `turn` return, from any thread.
    pub(crate) notifier: Arc<dyn Notify>,
}
