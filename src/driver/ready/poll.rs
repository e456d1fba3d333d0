//! poll(2): the selector of last resort. It works everywhere, and each call costs time in
//! proportion to the number of descriptors.
//!
//! poll is level-triggered; to behave like its siblings it asks of each descriptor only what somebody
//! waits for, and asks no more once it has happened.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::selector::{Event, Selector};
use crate::driver::engine::Wait;
use crate::op::Interest;
use crate::sys::{self, Notify, WakeFd, POLLRDHUP};

/// What is asked for those who wait to read: bytes, or the end of the peer's writing.
const READABLE: libc::c_short = libc::POLLIN | POLLRDHUP;

pub(super) struct Poll {
    notifier: Arc<WakeFd>,
    /// The notifier first, then the watched descriptors in no order.
    fds: Vec<libc::pollfd>,
    /// The generations of `fds`.
    generations: Vec<u32>,
    /// Where in `fds` a descriptor is, by number.
    places: Vec<Option<usize>>,
}

impl Poll {
    /// Makes the selector and lets it watch the notifier.
    pub(super) fn open() -> io::Result<Poll> {
        let notifier = Arc::new(WakeFd::new(true)?);
        let fds = vec![libc::pollfd { fd: notifier.fd(), events: libc::POLLIN, revents: 0 }];
        Ok(Poll { notifier, fds, generations: vec![0], places: Vec::new() })
    }
}

impl Selector for Poll {
    fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()> {
        let number = fd as usize;
        if number >= self.places.len() {
            self.places.resize(number + 1, None);
        }
        debug_assert!(self.places[number].is_none(), "a descriptor is watched twice");
        self.places[number] = Some(self.fds.len());
        // A negative number is passed over by the kernel: nothing is asked.
        self.fds.push(libc::pollfd { fd: !fd, events: 0, revents: 0 });
        self.generations.push(generation);
        Ok(())
    }

    fn unwatch(&mut self, fd: RawFd) {
        let place = self.places[fd as usize].take().expect("the descriptor was watched");
        self.fds.swap_remove(place);
        self.generations.swap_remove(place);
        if let Some(moved) = self.fds.get(place) {
            self.places[number_of(moved) as usize] = Some(place);
        }
    }

    fn arm(&mut self, fd: RawFd, interest: Interest) {
        let place = self.places[fd as usize].expect("the descriptor is watched");
        let asked = &mut self.fds[place];
        asked.fd = fd;
        asked.events |= match interest {
            Interest::Readable => READABLE,
            Interest::Writable => libc::POLLOUT,
        };
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let at_most = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        };
        let mut left = sys::ppoll(&mut self.fds, at_most)?;
        let answers = self.fds.iter_mut().zip(&self.generations).enumerate();
        for (place, (asked, &generation)) in answers {
            if left == 0 {
                break;
            }
            if asked.revents == 0 {
                continue;
            }
            left -= 1;
            if place == 0 {
                self.notifier.drain();
                continue;
            }
            let what = asked.revents;
            let failed = what & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0;
            let readable = failed || what & READABLE != 0;
            let writable = failed || what & libc::POLLOUT != 0;
            events.push(Event::asked_for(asked.fd, generation, readable, writable));
            if readable {
                asked.events &= !READABLE;
            }
            if writable {
                asked.events &= !libc::POLLOUT;
            }
            if asked.events == 0 {
                asked.fd = !asked.fd;
            }
        }
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.notifier.clone()
    }
}

/// The number of a watched descriptor, whether anything is asked of it or not.
fn number_of(asked: &libc::pollfd) -> RawFd {
    if asked.fd < 0 {
        !asked.fd
    } else {
        asked.fd
    }
}
