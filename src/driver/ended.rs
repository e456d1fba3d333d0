//! The engine of a runtime that has ended: nothing is started any more, and nothing comes.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use super::buffers::{self, Buffers};
use super::capabilities::Capabilities;
use super::config::Config;
use super::engine::{Counts, Engine, Started, Wait};
use super::slots::Slots;
use crate::completion::{Completion, Sink, Token};
use crate::op::{Code, Interest, Op};
use crate::sys::fd::{OwnedFd, RawFd};
use crate::sys::Notify;

/// What is left of an engine.
pub(super) struct Ended {
    /// The counts as they were at its end.
    counts: Counts,
    /// This process is a fork of the one that it belonged to.
    forked: bool,
}

impl Ended {
    pub(super) fn new(counts: Counts, forked: bool) -> Ended {
        Ended { counts, forked }
    }

    fn error(&self) -> io::Error {
        io::Error::other(match self.forked {
            true => {
                "this process is a fork of the one that the runtime belongs to, and cannot use it"
            }
            false => "the runtime of this handle has ended",
        })
    }
}

impl Engine for Ended {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        unreachable!("an engine is asked for its notifier when it has been opened")
    }

    fn stream_buffers(&mut self, _config: &Config) -> Buffers {
        unreachable!("an engine is asked for its buffers when it has been opened")
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

    fn start<O: Op>(&mut self, _slots: &mut Slots, _op: &mut O) -> Started {
        Started::Done(Err(self.error()))
    }

    fn submit<O: Op>(&mut self, _slots: &mut Slots, _op: &mut O) -> Option<Token> {
        None
    }

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
        _code: Code,
        _fd: RawFd,
        _sink: Rc<dyn Sink>,
    ) -> io::Result<Token> {
        Err(self.error())
    }

    fn cancel(&mut self, slots: &mut Slots, token: Token) {
        slots.want_cancel(token);
    }

    fn unpark(&mut self, slots: &mut Slots, token: Token) {
        slots.want_cancel(token);
    }

    fn close_detached(&mut self, _slots: &mut Slots, fd: OwnedFd) {
        drop(fd);
    }

    fn forget_descriptor(&mut self, _fd: RawFd) {}

    fn release_descriptor(&mut self, _fd: RawFd) {}

    fn turn(
        &mut self,
        _slots: &mut Slots,
        _wait: Wait,
        _batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        match self.forked {
            true => Err(self.error()),
            false => Ok(()),
        }
    }

    fn peek(&mut self, _slots: &mut Slots) -> bool {
        false
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn end(&mut self, _slots: &mut Slots) {}

    fn end_in_fork(&mut self) {}
}
