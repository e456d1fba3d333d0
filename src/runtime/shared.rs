//! The part of a core that other threads may touch: its inbox and its notifier.
//!
//! # The sleep handshake
//! A core that is about to sleep says so in `parked`, then looks into the inbox once more. A thread
//! that has put something there takes `parked` down afterwards. Both swap `parked`, so one comes
//! after the other and sees what that did before: either the core finds the entry and stays awake,
//! or the thread finds the core parked and notifies. Only the one that takes `parked` down makes
//! the system call: ten notifies cost one. `task/models.rs` has this checked in every order of
//! steps.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

use super::atomic::{AtomicBool, Ordering};
use super::context;
use super::task::{Inbox, TaskRef};
use crate::sys::EventFd;

/// What threads share of one core.
pub(crate) struct Shared {
    inbox: Inbox,
    parked: AtomicBool,
    notifier: Arc<EventFd>,
    /// System calls made to wake the core.
    pub(crate) notifies: AtomicU64,
}

impl Shared {
    pub(crate) fn new(notifier: Arc<EventFd>) -> Shared {
        Shared {
            inbox: Inbox::new(),
            parked: AtomicBool::new(false),
            notifier,
            notifies: AtomicU64::new(0),
        }
    }

    /// Whether the calling thread runs this core.
    pub(crate) fn is_current(&self) -> bool {
        context::is_current(self)
    }

    /// Puts a woken task into the inbox. Any thread; never blocks.
    pub(super) fn send(&self, task: TaskRef) {
        if self.inbox.push(task) {
            self.notify();
        }
    }

    /// Ends the core's sleep, or keeps it from falling asleep. Any thread; never blocks.
    pub(crate) fn notify(&self) {
        if self.parked.swap(false, Ordering::SeqCst) {
            self.notifies.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if let Err(error) = self.raise() {
                // Nothing but a bug of ours closes the descriptor while the core lives.
                tracing::error!(target: "ringpark", %error, "cannot notify a core");
            }
        }
    }

    fn raise(&self) -> io::Result<()> {
        self.notifier.raise()
    }

    /// Takes what other threads have sent, in order.
    pub(super) fn receive(&self) -> impl Iterator<Item = TaskRef> {
        self.inbox.drain()
    }

    /// Says that the core is about to sleep. False if it must not, since something has come.
    pub(super) fn park(&self) -> bool {
        // A swap, as in `notify`: the later of the two sees all that came before the earlier.
        self.parked.swap(true, Ordering::SeqCst);
        if self.inbox.is_empty() {
            return true;
        }
        self.unpark();
        false
    }

    /// The core is awake.
    pub(super) fn unpark(&self) {
        // No thread needs to notify from now on. One that is about to anyhow costs an empty turn.
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Whether anything has been sent: for a core that spins.
    pub(super) fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The core is gone: what is sent from now on is dropped.
    pub(super) fn close(&self) -> impl Iterator<Item = TaskRef> {
        self.inbox.close()
    }
}
