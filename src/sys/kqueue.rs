//! kqueue(2), and what its structure is called on each system. `libkqueue.rs` is the same list.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub(crate) use libc::{kevent, EV_ADD, EV_CLEAR, EV_EOF, NOTE_TRIGGER};

use super::{cvt, timespec};

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filter {
    Read,
    Write,
    User,
}

/// The type of a kevent's flags, which is not the same everywhere.
#[cfg(not(target_os = "netbsd"))]
type Flags = u16;
#[cfg(target_os = "netbsd")]
type Flags = u32;

/// A wish to change what a queue watches.
pub(crate) fn change(
    ident: usize,
    filter: Filter,
    flags: Flags,
    fflags: u32,
    udata: u32,
) -> kevent {
    // SAFETY: plain numbers and a pointer that nobody follows.
    let mut event: kevent = unsafe { std::mem::zeroed() };
    event.ident = ident;
    event.filter = match filter {
        Filter::Read => libc::EVFILT_READ,
        Filter::Write => libc::EVFILT_WRITE,
        Filter::User => libc::EVFILT_USER,
    };
    event.flags = flags;
    event.fflags = fflags;
    event.udata = std::ptr::without_provenance_mut(udata as usize);
    event
}

/// What a reported event is about.
pub(crate) fn filter(event: &kevent) -> Filter {
    match event.filter {
        libc::EVFILT_READ => Filter::Read,
        libc::EVFILT_WRITE => Filter::Write,
        _ => Filter::User,
    }
}

/// What the event was given when it was added.
pub(crate) fn udata(event: &kevent) -> u32 {
    event.udata.addr() as u32
}

/// A kernel event queue.
#[derive(Debug)]
pub(crate) struct Queue(OwnedFd);

impl Queue {
    /// An empty one, close-on-exec. (No queue is inherited by a fork.)
    pub(crate) fn new() -> io::Result<Queue> {
        // SAFETY: kqueue takes no arguments.
        let fd = cvt(unsafe { libc::kqueue() })?;
        // SAFETY: the kernel has just made this descriptor for us.
        let queue = Queue(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: FIOCLEX takes no argument.
        cvt(unsafe { libc::ioctl(fd, libc::FIOCLEX) })?;
        Ok(queue)
    }

    /// Makes changes, in order, until one fails. Any thread; never blocks.
    pub(crate) fn apply(&self, changes: &[kevent]) -> io::Result<()> {
        let (fd, count) = (self.0.as_raw_fd(), changes.len() as _);
        let (none, at_once) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: the slice is valid for its length, and there is no room for events.
        cvt(unsafe { libc::kevent(fd, changes.as_ptr(), count, none, 0, at_once) }).map(drop)
    }

    /// Waits for events for at most so long (`None`: for ever); says how many it has put into the
    /// room.
    pub(crate) fn wait(
        &self,
        room: &mut [MaybeUninit<kevent>],
        at_most: Option<Duration>,
    ) -> io::Result<usize> {
        let at_most = at_most.map(timespec);
        let time = at_most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (fd, count) = (self.0.as_raw_fd(), room.len() as _);
        // SAFETY: the room is valid for writing so many events, the time is null or a local.
        let taken = cvt(unsafe {
            libc::kevent(fd, std::ptr::null(), 0, room.as_mut_ptr().cast(), count, time)
        })?;
        Ok(taken as usize)
    }

    /// A descriptor is about to be closed, which makes the kernel forget it.
    pub(crate) fn closing(&self, _fd: RawFd) {}

    /// Forgets a descriptor that stays open.
    pub(crate) fn forget(&self, fd: RawFd) -> io::Result<()> {
        [Filter::Read, Filter::Write].into_iter().try_for_each(|filter| {
            match self.apply(&[change(fd as usize, filter, libc::EV_DELETE, 0, 0)]) {
                // A direction that was refused is not there to be forgotten.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                other => other,
            }
        })
    }
}
