//! What a system tells of its descriptors, and how it is asked.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::driver::engine::Wait;
use crate::op::Interest;
use crate::sys::Notify;

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

impl Event {
    /// One of a selector that is asked for again by whoever waits again, and that reports the end
    /// as often as it is asked.
    pub(super) fn asked_for(fd: RawFd, generation: u32, readable: bool, writable: bool) -> Event {
        Event { fd, generation, readable, writable, read_ended: false, write_ended: false }
    }
}

/// How the kernel is asked about descriptors. Each selector has these functions after an `open` of its
/// own, which makes it and lets it watch its notifier.
pub(super) trait Selector {
    /// Watches both directions of a descriptor; events of it carry this generation. It is watched
    /// once, before anybody waits for it.
    fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()>;

    /// Forgets a descriptor that is about to be closed.
    fn unwatch(&mut self, fd: RawFd);

    /// Forgets a descriptor that stays open, for another core: one that the kernel forgets by itself
    /// when it is closed has to be taken out here.
    fn release(&mut self, fd: RawFd) {
        self.unwatch(fd);
    }

    /// Somebody waits for a direction, until the next event of it. The selectors that tell of changes
    /// by themselves need not know.
    fn arm(&mut self, _fd: RawFd, _interest: Interest) {}

    /// Waits, and says what happened. An interrupted wait is an error of that kind.
    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()>;

    /// What makes a wait return, from any thread.
    fn notifier(&self) -> Arc<dyn Notify>;
}
