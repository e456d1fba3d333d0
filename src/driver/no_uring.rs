//! io_uring where there is none: a driver that never opens, so that the rest of the crate need not
//! know. The list is that of `uring/mod.rs`, and none of it can be called.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use super::choose::RingFacts;
use super::{Backend, Completion, Config, Counts, SetupError, Sink, Slots, Started, Token, Wait};
use crate::buf::{Pool, PoolConfig};
use crate::op::{Code, Interest, Op};
use crate::sync::Home;
use crate::sys::Notify;

/// There is no value of this type.
pub(super) enum Uring {}

impl Uring {
    pub(super) fn open(_config: &Config) -> Result<Uring, SetupError> {
        Err(SetupError::not_here(Backend::Uring))
    }

    pub(super) fn is_deferred(&self) -> bool {
        match *self {}
    }

    pub(super) fn facts(&self, _config: &Config) -> RingFacts {
        match *self {}
    }

    pub(super) fn has(&self, _code: Code) -> bool {
        match *self {}
    }

    pub(super) fn pool_config(&self) -> PoolConfig {
        match *self {}
    }

    pub(super) fn datagram_pool(&mut self, _home: Arc<dyn Home>) -> Rc<Pool> {
        match *self {}
    }

    pub(super) fn fills_on(&self) -> bool {
        match *self {}
    }

    pub(super) fn attach(&mut self, _pool: &Rc<Pool>) {
        match *self {}
    }

    /// # Safety
    /// None is needed: there is nobody to call this.
    pub(super) unsafe fn register_buffers(
        &mut self,
        _memory: NonNull<u8>,
        _len: usize,
    ) -> Result<u16, String> {
        match *self {}
    }

    pub(super) fn unregister_buffers(&mut self, _place: u16) {
        match *self {}
    }

    pub(super) fn end_in_fork(&self) {
        match *self {}
    }

    pub(super) fn start<O: Op>(&mut self, _slots: &mut Slots, _op: &mut O) -> Started {
        match *self {}
    }

    pub(super) fn submit<O: Op>(&mut self, _slots: &mut Slots, _op: &mut O) -> Option<Token> {
        match *self {}
    }

    pub(super) fn park(
        &mut self,
        _slots: &mut Slots,
        _code: Code,
        _fd: RawFd,
        _interest: Interest,
    ) -> Started {
        match *self {}
    }

    pub(super) fn start_stream(
        &mut self,
        _slots: &mut Slots,
        _code: Code,
        _fd: RawFd,
        _sink: Rc<dyn Sink>,
    ) -> Token {
        match *self {}
    }

    pub(super) fn close_detached(&mut self, _slots: &mut Slots, _fd: OwnedFd) {
        match *self {}
    }

    pub(super) fn turn(
        &mut self,
        _slots: &mut Slots,
        _wait: Wait,
        _batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn end(&mut self, _slots: &mut Slots) {
        match *self {}
    }

    pub(super) fn peek(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn notifier(&self) -> Arc<dyn Notify> {
        match *self {}
    }

    pub(super) fn counts(&self) -> Counts {
        match *self {}
    }
}
