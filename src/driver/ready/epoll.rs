//! epoll(7): the selector of Linux.
//!
//! Each descriptor is added once, for both directions, edge-triggered: an event says that something
//! has changed since the last one, and adding it reports what is there already.
//!
//! epoll_wait counts in milliseconds and so makes every timer late by up to one. Linux 5.11 has
//! epoll_pwait2, which counts in nanoseconds; it is called by number, as older C libraries have no
//! function for it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::selector::{Event, Selector};
use crate::driver::engine::Wait;
use crate::driver::error::not_pollable;
use crate::sys::{cvt, Notify, WakeFd, WAIT_MAX_SECS};

/// Events taken by one call. More are taken by the next.
const EVENTS_MAX: usize = 1024;

/// What the notifier's events carry: no descriptor has this number.
const NOTIFIER: u64 = u64::MAX;

pub(super) struct Epoll {
    epoll: OwnedFd,
    notifier: Arc<WakeFd>,
    buffer: Vec<libc::epoll_event>,
    /// Until a call says otherwise, the kernel is taken to have epoll_pwait2.
    has_pwait2: bool,
}

/// The time of epoll_pwait2: the kernel's own, whose numbers have 64 bits on every machine.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanos: i64,
}

impl Epoll {
    /// Makes the selector and lets it watch the notifier.
    pub(super) fn open() -> io::Result<Epoll> {
        let notifier = Arc::new(WakeFd::new(true)?);
        // SAFETY: epoll_create1 takes no pointer.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let epoll = Epoll { epoll, notifier, buffer: Vec::new(), has_pwait2: true };
        // Level-triggered, so that a raised counter is not missed.
        epoll.control(libc::EPOLL_CTL_ADD, epoll.notifier.fd(), libc::EPOLLIN, NOTIFIER)?;
        Ok(epoll)
    }
}

impl Selector for Epoll {
    fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()> {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let data = u64::from(generation) << 32 | fd as u64;
        match self.control(libc::EPOLL_CTL_ADD, fd, events, data) {
            // Its number is left from a file that another process still has open.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, events, data)
            }
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(not_pollable()),
            other => other,
        }
    }

    /// The kernel forgets a descriptor by itself when it is closed; events that are under way have
    /// an old generation.
    fn unwatch(&mut self, _fd: RawFd) {}

    fn release(&mut self, fd: RawFd) {
        if let Err(error) = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0) {
            // It was registered, so nothing but memory can be short; an event of it is harmless.
            tracing::debug!(target: "ringpark", %error, fd, "cannot end the watch of a descriptor");
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.fill(wait)?;
        for event in self.buffer.drain(..) {
            let (data, what) = (event.u64, event.events as i32);
            if data == NOTIFIER {
                self.notifier.drain();
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

    fn notifier(&self) -> Arc<dyn Notify> {
        self.notifier.clone()
    }
}

impl Epoll {
    /// Waits, and fills the buffer, which is empty before.
    fn fill(&mut self, wait: Wait) -> io::Result<()> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(EVENTS_MAX);
        }
        let (epoll, room) = (self.epoll.as_raw_fd(), self.buffer.spare_capacity_mut());
        let count = match wait {
            Wait::No => epoll_wait(epoll, room, 0),
            Wait::Forever => epoll_wait(epoll, room, -1),
            Wait::For(time) if self.has_pwait2 => match epoll_pwait2(epoll, room, time) {
                Err(error) if is_missing(&error) => {
                    self.has_pwait2 = false;
                    epoll_wait(epoll, room, millis(time))
                }
                other => other,
            },
            Wait::For(time) => epoll_wait(epoll, room, millis(time)),
        }?;
        // SAFETY: the kernel has filled so many events from the front.
        unsafe { self.buffer.set_len(count) };
        Ok(())
    }

    fn control(&self, verb: i32, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event lives until the call returns.
        cvt(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), verb, fd, &mut event) }).map(drop)
    }
}

/// Room for events.
type Room = [MaybeUninit<libc::epoll_event>];

/// Waits for at most so many milliseconds (-1: for ever).
fn epoll_wait(epoll: RawFd, room: &mut Room, millis: i32) -> io::Result<usize> {
    let count = room.len() as libc::c_int;
    // SAFETY: the room is valid for writing so many events.
    let result = unsafe { libc::epoll_wait(epoll, room.as_mut_ptr().cast(), count, millis) };
    cvt(result).map(|count| count as usize)
}

/// Waits for at most `time`, to the nanosecond.
fn epoll_pwait2(epoll: RawFd, room: &mut Room, time: Duration) -> io::Result<usize> {
    let time = KernelTimespec {
        seconds: time.as_secs().min(WAIT_MAX_SECS) as i64,
        nanos: i64::from(time.subsec_nanos()),
    };
    let (events, count) = (room.as_mut_ptr(), room.len() as libc::c_int);
    let (time, mask) = (&raw const time, std::ptr::null::<libc::sigset_t>());
    // SAFETY: the room is valid for writing so many events, the time is a local in the kernel's
    // own layout, and a null mask leaves the signals alone, whatever size is told of it.
    let result =
        unsafe { libc::syscall(libc::SYS_epoll_pwait2, epoll, events, count, time, mask, 0_usize) };
    cvt(result as libc::c_int).map(|count| count as usize)
}

/// Whether a call has failed because the kernel lacks it, or a filter that does not know it
/// forbids it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// The time in milliseconds, rounded up: never too short.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Calls `check` with a selector of each kind of wait and its notifier.
    fn both(check: impl Fn(&mut Epoll, &dyn Notify)) {
        for has_pwait2 in [true, false] {
            let mut epoll = Epoll::open().expect("a descriptor");
            epoll.has_pwait2 = has_pwait2;
            let notifier = epoll.notifier();
            check(&mut epoll, &*notifier);
            assert!(has_pwait2 || !epoll.has_pwait2, "what is missing is not tried again");
        }
    }

    #[test]
    fn a_wait_is_never_too_short() {
        both(|epoll, _notifier| {
            for nanos in [0, 1, 250_000, 1_000_001] {
                let (time, start) = (Duration::from_nanos(nanos), Instant::now());
                epoll.fill(Wait::For(time)).expect("a wait");
                assert!(start.elapsed() >= time && epoll.buffer.is_empty());
            }
        });
    }

    #[test]
    fn any_time_can_be_waited_for() {
        let long = [Duration::MAX, Duration::from_secs(1 << 40), Duration::from_secs(1 << 31)];
        both(|epoll, notifier| {
            notifier.raise().expect("a counter");
            for wait in long.map(Wait::For).into_iter().chain([Wait::Forever, Wait::No]) {
                epoll.fill(wait).expect("a wait");
                assert_eq!(epoll.buffer.drain(..).count(), 1);
            }
        });
    }

    #[test]
    fn milliseconds_are_rounded_up() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_micros(1001)), 2);
        assert_eq!(millis(Duration::MAX), i32::MAX);
    }

    #[test]
    fn only_a_missing_call_is_replaced() {
        let missing = |code| is_missing(&io::Error::from_raw_os_error(code));
        assert!(missing(libc::ENOSYS) && missing(libc::EPERM));
        assert!(!missing(libc::EINTR) && !missing(libc::EBADF));
    }
}
