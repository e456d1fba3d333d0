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
//! What differs between systems is the selector, a file for each: six functions, in the order of
//! [`Selector`], so that two of them can be read side by side.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use super::buffers::{self, Buffers};
use super::capabilities::Capabilities;
use super::config::{Backend, Config};
use super::engine::{attempt, Counts, Engine, Started, Wait};
use super::error::SetupError;
use super::slots::Slots;
use crate::cause;
use crate::completion::{Completion, Sink, Token};
use crate::op::{Code, Interest, Op, Waits};
use crate::sys::Notify;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(any(not(target_os = "linux"), ringpark_kqueue))]
mod kqueue;
mod poll;
mod select;
mod selector;
mod table;

#[cfg(target_os = "linux")]
use epoll::Epoll;
#[cfg(any(not(target_os = "linux"), ringpark_kqueue))]
use kqueue::Kqueue;
use poll::Poll;
use select::Select;
use selector::{Event, Selector};
use table::Table;

/// The engine.
pub(super) struct Ready {
    selector: Box<dyn Selector>,
    table: Table,
    events: Vec<Event>,
    /// Answers that the engine itself gives, for the next turn.
    answers: Vec<Completion>,
    counts: Counts,
}

impl Ready {
    /// Opens the selector of `backend`.
    pub(super) fn open(backend: Backend) -> Result<Ready, SetupError> {
        fn boxed(selector: impl Selector + 'static) -> Box<dyn Selector> {
            Box::new(selector)
        }
        let opened = match backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll => Epoll::open().map(boxed),
            #[cfg(any(not(target_os = "linux"), ringpark_kqueue))]
            Backend::Kqueue => Kqueue::open().map(boxed),
            Backend::Poll => Poll::open().map(boxed),
            Backend::Select => Select::open().map(boxed),
            _ => return Err(SetupError::not_here(backend)),
        };
        let selector = opened.map_err(|source| {
            SetupError::because(backend, "making its descriptors", source, cause::of_descriptors)
        })?;
        Ok(Ready {
            selector,
            table: Table::new(),
            events: Vec::new(),
            answers: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Waits for the next event of the descriptor.
    fn park(&mut self, slots: &mut Slots, code: Code, fd: RawFd, interest: Interest) -> Started {
        if let Some(generation) = self.table.register(fd) {
            if let Err(error) = self.selector.watch(fd, generation) {
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
        self.selector.arm(fd, interest);
        Started::Parked(token)
    }

    fn select(&mut self, wait: Wait) -> io::Result<()> {
        self.counts.entries += 1;
        match self.selector.wait(wait, &mut self.events) {
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
}

impl Engine for Ready {
    fn capabilities(&self) -> Capabilities {
        Capabilities { wants_nonblocking: true, ..Capabilities::default() }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.selector.notifier()
    }

    fn stream_buffers(&mut self, config: &Config) -> Buffers {
        buffers::of_streams(config.pool)
    }

    fn datagram_buffers(&mut self) -> Buffers {
        buffers::of_datagrams()
    }

    unsafe fn register_buffers(
        &mut self,
        _memory: NonNull<u8>,
        _len: usize,
    ) -> Result<Option<u16>, String> {
        Ok(None)
    }

    fn unregister_buffers(&mut self, _place: u16) {}

    /// Attempts the operation; parks it if it would block.
    fn start<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Started {
        let (fd, interest) = (op.fd(), op.interest());
        if op.waits() == Waits::Never {
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

    fn submit<O: Op>(&mut self, _slots: &mut Slots, _op: &mut O) -> Option<Token> {
        None
    }

    /// An attempt looks by itself whether it must wait. (Nothing but a fault is answered so here.)
    fn park_after_again(
        &mut self,
        _: &mut Slots,
        _: Code,
        _: RawFd,
        _: Interest,
    ) -> Option<Started> {
        None
    }

    fn start_stream(
        &mut self,
        _slots: &mut Slots,
        code: Code,
        _fd: RawFd,
        _sink: Rc<dyn Sink>,
    ) -> io::Result<Token> {
        unreachable!("{code:?} is of rings only")
    }

    /// Ends a wait: it is answered with ECANCELED at the next turn.
    fn cancel(&mut self, slots: &mut Slots, token: Token) {
        if let Some(fd) = slots.fd(token) {
            if self.table.unwait(fd, token) {
                slots.cancels += 1;
                self.answers.push(Completion::errno(token, libc::ECANCELED));
            }
        }
    }

    /// Ends a wait that nobody is interested in any more, without an answer.
    fn unpark(&mut self, slots: &mut Slots, token: Token) {
        if let Some(fd) = slots.fd(token) {
            if self.table.unwait(fd, token) {
                slots.forget(token);
            }
        }
    }

    fn close_detached(&mut self, _slots: &mut Slots, fd: OwnedFd) {
        self.forget_descriptor(fd.as_raw_fd());
        drop(fd);
    }

    fn forget_descriptor(&mut self, fd: RawFd) {
        if self.table.remove(fd) {
            self.selector.unwatch(fd);
        }
    }

    fn release_descriptor(&mut self, fd: RawFd) {
        if self.table.remove(fd) {
            self.selector.release(fd);
        }
    }

    fn turn(
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

    /// Looks for events without waiting, and keeps those that come for the turn.
    fn peek(&mut self, slots: &mut Slots) -> bool {
        // An error comes again, and is told, when the turn looks.
        if slots.in_flight() > 0 && self.select(Wait::No).is_ok() {
            let mut answers = std::mem::take(&mut self.answers);
            self.answer(&mut answers);
            self.answers = answers;
        }
        !self.answers.is_empty()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn end(&mut self, _slots: &mut Slots) {}

    fn end_in_fork(&mut self) {}
}
