//! What makes a ring's turn return, from any thread: a message to the ring, or else an eventfd.
//!
//! A message (`IORING_REGISTER_SEND_MSG_RING`, Linux 6.13) is a system call of the thread that wakes,
//! which needs no ring of its own. It puts a completion into the target's queue, and there is nothing
//! to read afterwards. Where the kernel does not know it, has no memory for it, or the ring has ended,
//! the eventfd does: one read of it is always under way in the ring.
//!
//! The number of a ring that has been closed may name another one soon. So messages are sent under a
//! lock, and the ring is closed only after it has taken its number away under the same lock. Nobody
//! waits for it to ring: who finds it taken uses the eventfd.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::completion::Token;
use crate::sys::uring::message;
use crate::sys::{EventFd, Notify};

/// There is no ring to send messages to.
const NONE: RawFd = -1;

/// The notifier of one ring.
#[derive(Debug)]
pub(super) struct Doorbell {
    pub(super) eventfd: EventFd,
    /// The ring's descriptor. Read with `ringing` held, changed to `NONE` with it held.
    ring: AtomicI32,
    ringing: Mutex<()>,
}

impl Doorbell {
    /// One that rings by the eventfd, which must be one that lets its reader wait.
    pub(super) fn new(eventfd: EventFd) -> Doorbell {
        Doorbell { eventfd, ring: AtomicI32::new(NONE), ringing: Mutex::new(()) }
    }

    /// From now on it rings by messages to this ring, which must be open until `close`.
    pub(super) fn use_messages(&self, ring: RawFd) {
        self.ring.store(ring, Relaxed);
    }

    /// The ring is about to be closed.
    pub(super) fn close(&self) {
        if self.ring.load(Relaxed) != NONE {
            let _ringing = self.ringing.lock().unwrap_or_else(PoisonError::into_inner);
            self.ring.store(NONE, Relaxed);
        }
    }

    /// The same in a forked child: whoever held the lock is not there to let go of it, nor is anybody
    /// who could ring.
    pub(super) fn close_in_fork(&self) {
        self.ring.store(NONE, Relaxed);
    }
}

impl Notify for Doorbell {
    fn raise(&self) -> io::Result<()> {
        if let Ok(_ringing) = self.ringing.try_lock() {
            let ring = self.ring.load(Relaxed);
            if ring != NONE && message(ring, 0, Token::message().bits()).is_ok() {
                return Ok(());
            }
        }
        self.eventfd.raise()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(doorbell: &Doorbell) -> bool {
        doorbell.raise().expect("one of the two ways works");
        let mut poll = libc::pollfd { fd: doorbell.eventfd.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives until the call returns.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    #[test]
    fn what_takes_no_message_is_woken_by_the_eventfd() {
        let doorbell = Doorbell::new(EventFd::new(false).expect("a descriptor"));
        // No ring: as if it had ended, or its queue could not take a message.
        let other = EventFd::new(false).expect("a descriptor");
        doorbell.use_messages(other.fd());
        assert!(rung(&doorbell));
    }

    #[test]
    fn nobody_waits_for_another_who_rings() {
        let Ok(ring) = io_uring::IoUring::new(8) else { return };
        let doorbell = Doorbell::new(EventFd::new(false).expect("a descriptor"));
        doorbell.use_messages(std::os::fd::AsRawFd::as_raw_fd(&ring));
        let held = doorbell.ringing.lock().expect("nobody panics");
        assert!(rung(&doorbell));
        drop(held);
    }

    #[test]
    fn a_ring_that_was_closed_gets_no_message() {
        let Ok(mut ring) = io_uring::IoUring::new(8) else { return };
        let doorbell = Doorbell::new(EventFd::new(false).expect("a descriptor"));
        doorbell.use_messages(std::os::fd::AsRawFd::as_raw_fd(&ring));
        let by_message = !rung(&doorbell);
        assert_eq!(ring.completion().count() == 1, by_message, "by one of the two ways");
        doorbell.close();
        assert!(rung(&doorbell));
        assert_eq!(ring.completion().count(), 0);
    }
}
