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
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::Arc;

use super::core_id::CoreId;
use super::load::LoadMeter;
use super::published::Published;
use super::task::inbox::{Inbox, Linked};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{home, Home};
use crate::sys::Notify;

/// Counts order nothing.
pub(super) const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// Tasks from other threads that may wait to be taken in: more than any core starts in a second.
const PENDING_MAX: usize = 65_536;

/// What threads share of one core, whose tasks are counted by `T`s.
pub(crate) struct Shared<T: Linked> {
    pub(super) id: CoreId,
    pub(super) load: LoadMeter,
    pub(super) published: Published,
    /// The number of the task run that is under way; 0 for none. For the stall detector.
    pub(super) running: AtomicU64,
    /// Tasks that have held the core for too long.
    pub(super) stalls: AtomicU64,
    /// Tasks from other threads that the core has not taken in yet.
    pending: AtomicUsize,
    /// How often there were too many of them.
    pub(super) refusals: AtomicU64,
    /// How many `CoreHandle`s there are: each may bring work at any time.
    handles: AtomicUsize,
    inbox: Inbox<T>,
    parked: AtomicBool,
    notifier: Arc<dyn Notify>,
    /// System calls made to wake the core.
    pub(crate) notifies: AtomicU64,
}

impl<T: Linked> Shared<T> {
    pub(crate) fn new(notifier: Arc<dyn Notify>) -> Shared<T> {
        Shared {
            id: CoreId::next(),
            load: LoadMeter::of_this_thread(),
            published: Published::new(),
            running: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
            handles: AtomicUsize::new(0),
            inbox: Inbox::new(),
            parked: AtomicBool::new(false),
            notifier,
            notifies: AtomicU64::new(0),
        }
    }

    /// Whether the calling thread runs this core.
    pub(crate) fn is_current(&self) -> bool {
        home::is_here(self)
    }

    /// Puts a task into the inbox; gives it back if the core has ended. Any thread; never blocks.
    pub(super) fn send(&self, task: T) -> Result<(), T> {
        self.inbox.push(task)?;
        self.notify();
        Ok(())
    }

    /// Admits a task from another thread; an error says why it is refused.
    pub(super) fn admit(&self) -> io::Result<()> {
        let refused = |what: String| io::Error::new(io::ErrorKind::ResourceBusy, what);
        if self.is_closed() {
            return Err(refused(format!("core {} has ended", self.id)));
        }
        if self.pending.fetch_add(1, RELAXED) < PENDING_MAX {
            return Ok(());
        }
        self.pending.fetch_sub(1, RELAXED);
        if self.refusals.fetch_add(1, RELAXED).is_power_of_two() {
            tracing::warn!(target: "ringpark", core = %self.id, "too many tasks wait to be started");
        }
        Err(refused(format!("core {} has {PENDING_MAX} tasks waiting to be started", self.id)))
    }

    /// The core has taken one of them in.
    pub(super) fn taken_in(&self) {
        self.pending.fetch_sub(1, RELAXED);
    }

    /// Tasks from other threads that wait to be taken in.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(RELAXED)
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, RELAXED);
    }

    pub(super) fn remove_handle(&self) {
        self.handles.fetch_sub(1, RELAXED);
    }

    /// Whether anybody may bring work from outside.
    pub(super) fn has_handles(&self) -> bool {
        self.handles.load(RELAXED) > 0
    }

    /// Whether the core has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
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
    pub(super) fn receive(&self) -> impl Iterator<Item = T> {
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
    pub(super) fn has_remote(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The core is gone: what is sent from now on is dropped.
    pub(super) fn close(&self) -> impl Iterator<Item = T> {
        self.inbox.close()
    }
}

impl<T: Linked> Home for Shared<T> {
    fn notify(&self) {
        self.notify();
    }
}
