//! select(2): the selector of very last resort. It works everywhere, only for descriptors with small
//! numbers, and each call costs time in proportion to the largest.
//!
//! select is level-triggered; to behave like its siblings it asks of each descriptor only what somebody
//! waits for, and asks no more once it has happened.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::selector::{Event, Selector};
use crate::driver::engine::Wait;
use crate::driver::Backend;
use crate::op::Interest;
use crate::sys::{cvt, is_open, timespec, Notify, WakeFd};

/// The first number that no set has room for.
const NUMBERS: usize = libc::FD_SETSIZE;

pub(super) struct Select {
    notifier: Arc<WakeFd>,
    /// Whom somebody waits for to be readable, the notifier among them.
    readable: Set,
    /// Whom somebody waits for to be writable.
    writable: Set,
    /// The generations of the watched descriptors, by number.
    generations: Vec<Option<u32>>,
}

impl Select {
    /// Makes the selector and lets it watch the notifier.
    pub(super) fn open() -> io::Result<Select> {
        let notifier = Arc::new(WakeFd::new(true)?);
        check(notifier.fd())?;
        let mut readable = Set::empty();
        readable.put(notifier.fd());
        let generations = vec![None; notifier.fd() as usize + 1];
        Ok(Select { notifier, readable, writable: Set::empty(), generations })
    }
}

impl Selector for Select {
    fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()> {
        check(fd)?;
        let number = fd as usize;
        if number >= self.generations.len() {
            self.generations.resize(number + 1, None);
        }
        debug_assert!(self.generations[number].is_none(), "a descriptor is watched twice");
        self.generations[number] = Some(generation);
        Ok(())
    }

    fn unwatch(&mut self, fd: RawFd) {
        self.generations[fd as usize].take().expect("the descriptor was watched");
        self.readable.remove(fd);
        self.writable.remove(fd);
    }

    fn arm(&mut self, fd: RawFd, interest: Interest) {
        debug_assert!(self.generations[fd as usize].is_some(), "the descriptor is watched");
        match interest {
            Interest::Readable => self.readable.put(fd),
            Interest::Writable => self.writable.put(fd),
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let at_most = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        };
        let (mut readable, mut writable) = (self.readable, self.writable);
        match select(self.generations.len(), &mut readable, &mut writable, at_most) {
            Ok(()) => {}
            // One of them has been closed behind our back: who waits for it is to find that out.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                let open = |set: &mut Set| {
                    (0..NUMBERS as RawFd).filter(|&fd| is_open(fd)).for_each(|fd| set.remove(fd));
                };
                open(&mut readable);
                open(&mut writable);
            }
            Err(error) => return Err(error),
        }
        let notifier = self.notifier.fd();
        if readable.has(notifier) {
            self.notifier.drain();
        }
        for (fd, generation) in (0..).zip(&self.generations) {
            let Some(generation) = *generation else { continue };
            let (readable, writable) = (readable.has(fd), writable.has(fd));
            if !readable && !writable {
                continue;
            }
            events.push(Event::asked_for(fd, generation, readable, writable));
            if readable {
                self.readable.remove(fd);
            }
            if writable {
                self.writable.remove(fd);
            }
        }
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.notifier.clone()
    }
}

/// Whether a set has room for this number.
fn check(fd: RawFd) -> io::Result<()> {
    if (0..NUMBERS as RawFd).contains(&fd) {
        return Ok(());
    }
    let others = Backend::SUPPORTED.iter().filter(|&&backend| backend != Backend::Select);
    let others: Vec<_> = others.map(|backend| backend.name()).collect();
    let message = format!(
        "select(2) can wait for descriptors below {NUMBERS} only, and this one is {fd}: use another \
         backend ({})",
        others.join(", ")
    );
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// A set of descriptors, all of whose numbers have passed `check`.
#[derive(Clone, Copy)]
struct Set(libc::fd_set);

impl Set {
    fn empty() -> Set {
        // SAFETY: all zeros is the empty set.
        Set(unsafe { std::mem::zeroed() })
    }

    fn put(&mut self, fd: RawFd) {
        assert!((fd as usize) < NUMBERS);
        // SAFETY: the set has room for the number.
        unsafe { libc::FD_SET(fd, &mut self.0) }
    }

    fn remove(&mut self, fd: RawFd) {
        assert!((fd as usize) < NUMBERS);
        // SAFETY: the set has room for the number.
        unsafe { libc::FD_CLR(fd, &mut self.0) }
    }

    fn has(&self, fd: RawFd) -> bool {
        assert!((fd as usize) < NUMBERS);
        // SAFETY: the set has room for the number.
        unsafe { libc::FD_ISSET(fd, &self.0) }
    }
}

/// Waits for any of the descriptors, all of which are below `end`; leaves those in the sets that are
/// ready.
fn select(
    end: usize,
    readable: &mut Set,
    writable: &mut Set,
    at_most: Option<Duration>,
) -> io::Result<()> {
    debug_assert!(end <= NUMBERS);
    let at_most = at_most.map(timespec);
    let time = at_most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let (failed, mask) = (std::ptr::null_mut(), std::ptr::null());
    // SAFETY: the sets are valid for their size, which is not less than the end; the time is null or
    // a local, and a null mask leaves the signals alone.
    cvt(unsafe { libc::pselect(end as i32, &mut readable.0, &mut writable.0, failed, time, mask) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    #[test]
    fn a_number_that_is_too_large_is_an_error_that_says_what_to_use() {
        let mut select = Select::open().expect("descriptors");
        let said = select.watch(NUMBERS as RawFd, 0).expect_err("no room").to_string();
        assert!(said.contains(&NUMBERS.to_string()) && said.contains("poll"), "{said}");
        let last = NUMBERS as RawFd - 1;
        select.watch(last, 0).expect("the last that has room");
        select.arm(last, Interest::Writable);
        select.unwatch(last);
    }

    #[test]
    fn a_wait_tells_what_was_asked_for_once() {
        let (ours, mut other) = UnixStream::pair().expect("a pair");
        let mut select = Select::open().expect("descriptors");
        select.watch(ours.as_raw_fd(), 7).expect("a small number");
        select.arm(ours.as_raw_fd(), Interest::Readable);
        let mut events = Vec::new();
        let (time, start) = (Duration::from_millis(2), Instant::now());
        select.wait(Wait::For(time), &mut events).expect("a wait");
        assert!(events.is_empty() && start.elapsed() >= time);
        other.write_all(b"x").expect("room");
        select.wait(Wait::Forever, &mut events).expect("a wait");
        assert_eq!((events[0].fd, events[0].generation), (ours.as_raw_fd(), 7));
        assert!(events[0].readable && !events[0].writable && events.len() == 1);
        select.wait(Wait::No, &mut events).expect("a wait");
        assert_eq!(events.len(), 1, "nobody asked again");
    }

    #[test]
    fn one_that_was_closed_behind_its_back_does_not_hurt_the_others() {
        let (ours, other) = UnixStream::pair().expect("a pair");
        let mut select = Select::open().expect("descriptors");
        // The last number, which no other test is likely to open.
        let closed = NUMBERS as RawFd - 1;
        for fd in [ours.as_raw_fd(), closed] {
            select.watch(fd, 0).expect("a small number");
            select.arm(fd, Interest::Readable);
        }
        drop(other);
        let mut events = Vec::new();
        for _ in 0..2 {
            // Whether it takes one wait or two is the kernel's affair.
            select.wait(Wait::No, &mut events).expect("a wait");
        }
        for fd in [ours.as_raw_fd(), closed] {
            assert!(events.iter().any(|event| event.fd == fd && event.readable), "{events:?}");
        }
    }
}
