//! The queue of tasks that other threads have woken.
//!
//! An intrusive stack: a push is one compare-and-swap on the head, a drain takes the whole chain
//! and turns it round, so that the oldest comes first. Tasks carry the link themselves, and a task
//! is in at most one inbox once (`Header::remote`), so nothing is ever allocated, and there is no
//! bound at which a waker would have to wait.

use std::ptr;

use super::cell::{Header, TaskRef};
use crate::sync::atomic::{AtomicPtr, Ordering};

/// Marks an inbox that nobody empties any more.
fn closed() -> *mut Header {
    // An address that no task can have: tasks are aligned to more than one byte.
    ptr::without_provenance_mut(1)
}

/// What other threads have woken.
pub(crate) struct Inbox {
    head: AtomicPtr<Header>,
}

/// A chain of tasks, oldest first. What is not taken is let go, on the core's thread.
pub(crate) struct Drain {
    next: *mut Header,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a task in; gives it back if the inbox is closed.
    pub(crate) fn push(&self, task: TaskRef) -> Result<(), TaskRef> {
        let header = task.into_raw();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                // SAFETY: this reference was ours, and has not been given away.
                return Err(unsafe { TaskRef::from_raw(header) });
            }
            // SAFETY: `remote` was raised by this thread, so the link is its own until the push.
            unsafe { Header::set_next(header, head) };
            // SeqCst is for the sleep handshake; it releases the link to the drain.
            match self.head.compare_exchange_weak(head, header, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(actual) => head = actual,
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        head.is_null() || head == closed()
    }

    /// Whether nobody empties it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.head.load(Ordering::Acquire) == closed()
    }

    /// Takes everything.
    pub(crate) fn drain(&self) -> Drain {
        // A load first: an empty inbox, the usual case, costs no atomic exchange.
        if self.head.load(Ordering::Relaxed).is_null() {
            return Drain { next: ptr::null_mut() };
        }
        Drain::reversed(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Takes everything and lets nothing in any more.
    pub(crate) fn close(&self) -> Drain {
        Drain::reversed(self.head.swap(closed(), Ordering::AcqRel))
    }
}

impl Drain {
    /// The chain from `head`, the other way round.
    fn reversed(mut head: *mut Header) -> Drain {
        let mut next = ptr::null_mut();
        while !head.is_null() && head != closed() {
            // SAFETY: the chain was taken whole, so its links are this thread's now.
            unsafe {
                let older = Header::next(head);
                Header::set_next(head, next);
                next = head;
                head = older;
            }
        }
        Drain { next }
    }
}

impl Iterator for Drain {
    type Item = TaskRef;

    fn next(&mut self) -> Option<TaskRef> {
        if self.next.is_null() {
            return None;
        }
        let header = self.next;
        // SAFETY: as above. The reference that the push gave away is taken back, and the task may
        // be pushed again only after `remote` has been taken down, after this.
        unsafe {
            self.next = Header::next(header);
            let task = TaskRef::from_raw(header);
            task.unmail();
            Some(task)
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.for_each(TaskRef::dismiss);
    }
}
