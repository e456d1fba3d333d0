//! epoll(7): the selector of Linux.
//!
//! Each descriptor is added once, for both directions, edge-triggered: an event says that something
//! has changed since the last one, and adding it reports what is there already.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{timeout_ms, Event, Wait};
use crate::driver::error::not_pollable;
use crate::runtime::Shared;
use crate::sys::cvt;

/// Events taken by one call. More are taken by the next.
const EVENTS_MAX: usize = 1024;

/// What the notifier's events carry: no descriptor has this number.
const NOTIFIER: u64 = u64::MAX;

pub(super) struct Epoll {
    epoll: OwnedFd,
    buffer: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Makes the selector and lets it watch the notifier.
    pub(super) fn open(notifier: RawFd) -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        let epoll = Epoll { epoll: unsafe { OwnedFd::from_raw_fd(fd) }, buffer: Vec::new() };
        // Level-triggered, so that a raised counter is not missed.
        epoll.control(libc::EPOLL_CTL_ADD, notifier, libc::EPOLLIN, NOTIFIER)?;
        Ok(epoll)
    }

    /// Watches both directions of a descriptor for as long as it is open.
    pub(super) fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()> {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let data = u64::from(generation) << 32 | fd as u64;
        match self.control(libc::EPOLL_CTL_ADD, fd, events, data) {
            // Its number is left from a file that another process still has open.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, events, data)
            }
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(not_pollable(error)),
            other => other,
        }
    }

    /// The kernel forgets a descriptor by itself when it is closed; events that are under way have
    /// an old generation.
    pub(super) fn unwatch(&mut self, _fd: RawFd) {}

    /// Waits, and says what happened.
    pub(super) fn wait(
        &mut self,
        wait: Wait,
        shared: &Shared,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let (epoll, room) = (self.epoll.as_raw_fd(), self.buffer.spare_capacity_mut());
        if room.is_empty() {
            self.buffer.reserve_exact(EVENTS_MAX);
            return self.wait(wait, shared, events);
        }
        let count = room.len() as libc::c_int;
        // SAFETY: the spare capacity is valid for writing so many events.
        let count = cvt(unsafe {
            libc::epoll_wait(epoll, room.as_mut_ptr().cast(), count, timeout_ms(wait))
        })?;
        // SAFETY: the kernel has filled so many events from the front.
        unsafe { self.buffer.set_len(count as usize) };
        for event in self.buffer.drain(..) {
            let (data, what) = (event.u64, event.events as i32);
            if data == NOTIFIER {
                shared.notifier().drain();
                continue;
            }
            // An error need not be the end: a datagram socket goes on after one.
            let failed = what & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            let hung_up = what & libc::EPOLLHUP != 0;
            let finished = what & libc::EPOLLRDHUP != 0;
            events.push(Event {
                fd: data as u32 as RawFd,
                generation: (data >> 32) as u32,
                readable: failed || finished || what & libc::EPOLLIN != 0,
                read_ended: hung_up || finished,
                writable: failed || what & libc::EPOLLOUT != 0,
                write_ended: hung_up,
            });
        }
        Ok(())
    }

    fn control(&self, verb: i32, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event lives until the call returns.
        cvt(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), verb, fd, &mut event) }).map(drop)
    }
}
