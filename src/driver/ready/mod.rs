//! The readiness driver: one engine over any selector.
//!
//! An operation is attempted first; only if it would block does it wait, for an event of its
//! descriptor and direction, after which its future attempts it again. Descriptors are registered
//! once, edge-triggered, and the table remembers of each direction whether an attempt may succeed:
//! after `WouldBlock` (or a short read) there is none until the next event, and so no call in vain.
//!
//! Nothing of an operation is in the kernel's hands here, so a dropped future leaves nothing
//! behind, and a cancel is answered by the engine itself.
//!
//! A selector is five functions, in this order: `open`, `watch`, `unwatch`, `wait`, and the notifier,
//! whose descriptor it is given when it is opened. epoll and poll are here; kqueue and select have
//! their place beside them.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::{Backend, Completion, Counts, SetupError, Slots, Started, Token, Wait};
use crate::buf::PoolConfig;
use crate::op::{Code, Interest, Op};
use crate::sys::EventFd;

#[cfg(target_os = "linux")]
mod epoll;
mod poll;
mod table;

#[cfg(target_os = "linux")]
use epoll::Epoll;
use poll::Poll;
use table::Table;

/// The buffers of a core that fills them itself.
pub(super) const POOL: PoolConfig = PoolConfig { count_base: 16, count_max: 1024, size: 64 << 10 };

/// What happened at a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) fd: RawFd,
    /// Which registration of that number: see `Table`.
    pub(super) generation: u32,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Attempts of this direction never block any more, and no event may follow.
    pub(super) read_ended: bool,
    pub(super) write_ended: bool,
}

enum Selector {
    #[cfg(target_os = "linux")]
    Epoll(Epoll),
    Poll(Poll),
}

/// The engine.
pub(super) struct Ready {
    selector: Selector,
    table: Table,
    events: Vec<Event>,
    /// Answers that the engine itself gives, for the next turn.
    answers: Vec<Completion>,
    notifier: Arc<EventFd>,
    counts: Counts,
}

impl Ready {
    /// Opens the selector of `backend`.
    pub(super) fn open(backend: Backend, notifier: Arc<EventFd>) -> Result<Ready, SetupError> {
        let selector = match backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll => {
                Selector::Epoll(Epoll::open(notifier.fd()).map_err(|source| SetupError {
                    backend,
                    step: "epoll_create1",
                    source,
                    hint: "raise the limit of descriptors (ulimit -n)".to_owned(),
                })?)
            }
            _ => Selector::Poll(Poll::open(notifier.fd())),
        };
        Ok(Ready {
            selector,
            table: Table::new(),
            events: Vec::new(),
            answers: Vec::new(),
            notifier,
            counts: Counts::default(),
        })
    }

    /// Attempts the operation; parks it if it would block.
    pub(super) fn start<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Started {
        let (fd, interest) = (op.fd(), op.interest());
        if O::NEVER_WAITS {
            return Started::Done(attempt(op));
        }
        if self.table.may_try(fd, interest) {
            match attempt(op) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(result) => {
                    if op.exhausts(result) {
                        self.table.set_tried(fd, interest);
                    }
                    return Started::Done(Ok(result));
                }
                other => return Started::Done(other),
            }
        }
        self.park(slots, O::CODE, fd, interest)
    }

    /// Waits for the next event of the descriptor.
    pub(super) fn park(
        &mut self,
        slots: &mut Slots,
        code: Code,
        fd: RawFd,
        interest: Interest,
    ) -> Started {
        if let Some(generation) = self.table.register(fd) {
            let watched = match &mut self.selector {
                #[cfg(target_os = "linux")]
                Selector::Epoll(epoll) => epoll.watch(fd, generation),
                Selector::Poll(poll) => poll.watch(fd, generation),
            };
            if let Err(error) = watched {
                self.table.remove(fd);
                return Started::Done(Err(error));
            }
        }
        let token = slots.insert(code, fd);
        if !self.table.wait(fd, interest, token) {
            // No event will follow: it may be attempted again at the next turn.
            self.answers.push(Completion { token, result: 0, flags: 0 });
            return Started::Parked(token);
        }
        if let Selector::Poll(poll) = &mut self.selector {
            poll.arm(fd, interest);
        }
        Started::Parked(token)
    }

    /// Ends a wait: it is answered with ECANCELED at the next turn.
    pub(super) fn cancel(&mut self, slots: &mut Slots, token: Token) {
        if let Some(fd) = slots.fd(token) {
            if self.table.unwait(fd, token) {
                slots.cancels += 1;
                self.answers.push(Completion::errno(token, libc::ECANCELED));
            }
        }
    }

    /// Ends a wait that nobody is interested in any more, without an answer.
    pub(super) fn forget(&mut self, slots: &mut Slots, token: Token) {
        if let Some(fd) = slots.fd(token) {
            if self.table.unwait(fd, token) {
                slots.forget(token);
            }
        }
    }

    /// The descriptor is about to be closed.
    pub(super) fn forget_descriptor(&mut self, fd: RawFd) {
        if self.table.remove(fd) {
            match &mut self.selector {
                #[cfg(target_os = "linux")]
                Selector::Epoll(epoll) => epoll.unwatch(fd),
                Selector::Poll(poll) => poll.unwatch(fd),
            }
        }
    }

    /// Waits for events and answers those who wait for them.
    pub(super) fn turn(
        &mut self,
        slots: &mut Slots,
        wait: Wait,
        batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let wait = if self.answers.is_empty() { wait } else { Wait::No };
        // With nobody waiting there is nothing to look for, and so no reason for a system call.
        if wait != Wait::No || slots.in_flight() > 0 {
            self.select(wait)?;
            self.answer(batch);
        }
        batch.append(&mut self.answers);
        self.counts.completions += batch.len() as u64;
        Ok(())
    }

    fn select(&mut self, wait: Wait) -> io::Result<()> {
        self.counts.entries += 1;
        let Ready { selector, events, notifier, .. } = self;
        let selected = match selector {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.wait(wait, notifier, events),
            Selector::Poll(poll) => poll.wait(wait, notifier, events),
        };
        match selected {
            // The core looks round and comes back.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn answer(&mut self, batch: &mut Vec<Completion>) {
        for event in self.events.drain(..) {
            let done = |token| batch.push(Completion { token, result: 0, flags: 0 });
            self.table.fire(event, done);
        }
    }

    /// Looks for events without waiting, and keeps those that come for the turn.
    pub(super) fn peek(&mut self, slots: &mut Slots) -> bool {
        // An error comes again, and is told, when the turn looks.
        if slots.in_flight() > 0 && self.select(Wait::No).is_ok() {
            let mut answers = std::mem::take(&mut self.answers);
            self.answer(&mut answers);
            self.answers = answers;
        }
        !self.answers.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
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
