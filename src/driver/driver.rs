//! The driver of a core: which of its operations runs where, and the faults that are injected.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::any::{each, AnyEngine};
use super::buffers::Buffers;
use super::capabilities::Capabilities;
use super::config::{Backend, Config};
use super::ended::Ended;
use super::engine::{attempt, Counts, Engine, Started, Wait};
use super::fault::Faults;
use super::slots::Slots;
use crate::completion::{Completion, Orphan, Sink, Token};
use crate::op::{Code, Op, Waits};
use crate::sys::errno;
use crate::sys::fd::{OwnedFd, RawFd};
use crate::sys::Notify;

/// A core's driver: the backend, and the operations in flight on it.
pub(crate) struct Driver {
    engine: AnyEngine,
    pub(crate) slots: Slots,
    faults: Option<Box<Faults>>,
    backend: Backend,
    /// Whether a zero-copy send may be asked to say whether it has copied: so it seems, until the
    /// kernel refuses to (before 6.2).
    reports_usage: bool,
}

impl Driver {
    pub(super) fn new(engine: AnyEngine, backend: Backend, config: &Config) -> Driver {
        let faults = config.faults.map(|seed| Box::new(Faults::new(seed)));
        Driver { engine, slots: Slots::new(), faults, backend, reports_usage: true }
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
        each!(&self.engine, engine => engine.counts())
    }

    /// The buffers for datagrams. Asked for once.
    pub(crate) fn datagram_buffers(&mut self) -> Buffers {
        each!(&mut self.engine, engine => engine.datagram_buffers())
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
        // SAFETY: the caller keeps the memory.
        each!(&mut self.engine, engine => unsafe { engine.register_buffers(memory, len) })
    }

    /// Gives a place of registered memory up. Nothing that is in flight may name it.
    pub(crate) fn unregister_buffers(&mut self, place: u16) {
        each!(&mut self.engine, engine => engine.unregister_buffers(place));
    }

    /// Starts an operation, or goes on with one that was parked.
    pub(crate) fn start<O: Op>(&mut self, op: &mut O) -> Started {
        if let Some(faults) = &mut self.faults {
            if let Some(errno) = faults.refuse(O::CODE) {
                let token = self.slots.insert(O::CODE, op.fd());
                faults.answer(Completion::errno(token, errno));
                return Started::Submitted(token);
            }
            op.clip(&mut |len| faults.clip(len));
        }
        if op.waits() == Waits::ForDisk {
            return self.start_on_disk(op);
        }
        each!(&mut self.engine, engine => engine.start(&mut self.slots, op))
    }

    /// What is in memory already is had at once. For the rest the ring has threads of its own.
    #[cold]
    fn start_on_disk<O: Op>(&mut self, op: &mut O) -> Started {
        match attempt(op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Started::Done(result),
        }
        let submitted = each!(&mut self.engine, engine => engine.submit(&mut self.slots, op));
        submitted.map_or(Started::Helper, Started::Submitted)
    }

    /// The kernel said EAGAIN: waits for readiness, or for the disk in another way; `None` to start the
    /// operation again at once.
    pub(crate) fn park_after_again<O: Op>(&mut self, op: &O) -> Option<Started> {
        if op.waits() == Waits::ForDisk {
            // It would be ready at once, and no further for that.
            return Some(Started::Helper);
        }
        let (code, fd, interest) = (O::CODE, op.fd(), op.interest());
        each!(&mut self.engine, engine => {
            engine.park_after_again(&mut self.slots, code, fd, interest)
        })
    }

    /// Starts a multishot operation whose items go to `sink`, or one with a single item, where the ring
    /// takes it. Fails if the runtime has ended.
    pub(crate) fn start_stream(
        &mut self,
        code: Code,
        fd: RawFd,
        sink: Rc<dyn Sink>,
    ) -> io::Result<Token> {
        if let Some(faults) = &mut self.faults {
            if code.row().stream.is_some_and(|it| it.takes_buffers) && faults.no_buffer() {
                let token = self.slots.insert_stream(code, fd, sink);
                faults.answer(Completion::errno(token, errno::ENOBUFS));
                return Ok(token);
            }
        }
        each!(&mut self.engine, engine => engine.start_stream(&mut self.slots, code, fd, sink))
    }

    /// The result, if it has come, else remembers whom to wake: see [`Slots::take`].
    pub(crate) fn take<O: Op>(
        &mut self,
        token: Token,
        waker: &Waker,
        op: &O,
    ) -> Option<Completion> {
        let completion = self.slots.take(token, waker)?;
        if const { O::CODE.is_answered_twice() } {
            self.slots.settle(completion, op.loan());
        }
        Some(completion)
    }

    /// Asks for an operation to end. Its completion still comes.
    pub(crate) fn cancel(&mut self, token: Token) {
        if self.faults.as_ref().is_some_and(|faults| faults.will_answer(token)) {
            return;
        }
        each!(&mut self.engine, engine => engine.cancel(&mut self.slots, token));
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
        if const { O::CODE.is_answered_twice() } {
            self.slots.settle(completion, op.loan());
        }
        Some((op, completion))
    }

    /// The future of a parked operation is gone: nothing needs to be kept.
    pub(crate) fn unpark(&mut self, token: Token) {
        if self.slots.orphan(token, || None).is_some() {
            return;
        }
        each!(&mut self.engine, engine => engine.unpark(&mut self.slots, token));
    }

    /// Closes a descriptor that no operation names any more, without waiting for it.
    pub(crate) fn close_detached(&mut self, fd: OwnedFd) {
        each!(&mut self.engine, engine => engine.close_detached(&mut self.slots, fd));
    }

    /// A descriptor is about to be closed: forgets what is known of it.
    pub(crate) fn forget_descriptor(&mut self, fd: RawFd) {
        each!(&mut self.engine, engine => engine.forget_descriptor(fd));
    }

    /// A descriptor that nothing is in flight on goes to another core, open: forgets it, and lets the
    /// kernel forget that it was watched here.
    pub(crate) fn release_descriptor(&mut self, fd: RawFd) {
        each!(&mut self.engine, engine => engine.release_descriptor(fd));
    }

    /// Hands queued work to the kernel, waits, and collects completions. An error is the end of the
    /// backend: nothing more will come from it.
    pub(crate) fn turn(&mut self, wait: Wait, batch: &mut Vec<Completion>) -> io::Result<()> {
        let wait = match &self.faults {
            Some(faults) if faults.holds_something() => Wait::No,
            _ => wait,
        };
        each!(&mut self.engine, engine => engine.turn(&mut self.slots, wait, batch))?;
        if let Some(faults) = &mut self.faults {
            faults.disturb(batch);
        }
        Ok(())
    }

    /// Whether `turn` would find something without a system call: for a core that spins.
    pub(crate) fn peek(&mut self) -> bool {
        each!(&mut self.engine, engine => engine.peek(&mut self.slots))
    }

    /// Whom to wake so that the operation's owner looks at it again.
    pub(crate) fn waker(&mut self, token: Token) -> Option<Waker> {
        self.slots.waker(token)
    }

    /// This process is a fork: the ring or the selector is its parent's, and is only let go of.
    /// Called between fork(2) and its return, so there is nothing but memory to free and descriptors
    /// to close. (The rings themselves are not mapped here: `dontfork`.)
    pub(crate) fn end_in_fork(&mut self) {
        self.faults = None;
        each!(&mut self.engine, engine => engine.end_in_fork());
        self.engine = AnyEngine::Ended(Ended::new(self.counts(), true));
    }

    /// The backend goes: closes the ring or the selector.
    pub(crate) fn end(&mut self) {
        each!(&mut self.engine, engine => engine.end(&mut self.slots));
        self.engine = AnyEngine::Ended(Ended::new(self.counts(), false));
    }
}

/// A driver that is ready to use.
pub(crate) struct Opened {
    pub(crate) driver: Driver,
    /// What it can do.
    pub(crate) capabilities: Capabilities,
    /// The buffers for what streams receive.
    pub(crate) buffers: Buffers,
    /// What makes a `turn` return, from any thread.
    pub(crate) notifier: Arc<dyn Notify>,
}

#[cfg(test)]
mod tests;
