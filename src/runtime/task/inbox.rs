//! The queue of tasks that other threads have woken.
//!
//! An intrusive stack: a push is one compare-and-swap on the head, a drain takes the whole chain
//! and turns it round, so that the oldest comes first. Tasks carry the link themselves, and a task
//! is in at most one inbox once, so nothing is ever allocated, and there is no bound at which a waker
//! would have to wait.

use std::ptr;

use crate::sync::atomic::{AtomicPtr, Ordering};

/// A counted reference to what can stand in an inbox: to a task.
///
/// # Safety
/// `into_raw` gives a reference away, and `from_raw` takes it back. A node is aligned to more than one
/// byte, and stays where it is while there are references.
pub(crate) unsafe trait Linked: Sized {
    /// What carries the link.
    type Node;

    fn into_raw(self) -> *mut Self::Node;

    /// # Safety
    /// The pointer must be of `into_raw`, and its reference is taken over.
    unsafe fn from_raw(node: *mut Self::Node) -> Self;

    /// # Safety
    /// The node must be alive, and the link be the caller's.
    unsafe fn next(node: *mut Self::Node) -> *mut Self::Node;

    /// # Safety
    /// As for `next`.
    unsafe fn set_next(node: *mut Self::Node, next: *mut Self::Node);

    /// It has been taken out: from now on it may be put in again.
    fn taken_out(&self);

    /// Nobody will ever take it in. It has been taken out of an inbox that is not emptied any more.
    fn dismiss(self);
}

/// Marks an inbox that nobody empties any more.
fn closed<N>() -> *mut N {
    // An address that no node can have: nodes are aligned to more than one byte.
    ptr::without_provenance_mut(1)
}

/// What other threads have woken.
pub(crate) struct Inbox<T: Linked> {
    head: AtomicPtr<T::Node>,
}

/// A chain of tasks, oldest first. What is not taken is let go, on the core's thread.
pub(crate) struct Drain<T: Linked> {
    next: *mut T::Node,
}

impl<T: Linked> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a task in; gives it back if the inbox is closed.
    pub(crate) fn push(&self, task: T) -> Result<(), T> {
        let node = task.into_raw();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                // SAFETY: this reference was ours, and has not been given away.
                return Err(unsafe { T::from_raw(node) });
            }
            // SAFETY: whoever puts a task in owns its link until the push.
            unsafe { T::set_next(node, head) };
            // SeqCst is for the sleep handshake; it releases the link to the drain.
            match self.head.compare_exchange_weak(head, node, Ordering::SeqCst, Ordering::Relaxed) {
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
    pub(crate) fn drain(&self) -> Drain<T> {
        // A load first: an empty inbox, the usual case, costs no atomic exchange.
        if self.head.load(Ordering::Relaxed).is_null() {
            return Drain { next: ptr::null_mut() };
        }
        Drain::reversed(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Takes everything and lets nothing in any more.
    pub(crate) fn close(&self) -> Drain<T> {
        Drain::reversed(self.head.swap(closed(), Ordering::AcqRel))
    }
}

impl<T: Linked> Drain<T> {
    /// The chain from `head`, the other way round.
    fn reversed(mut head: *mut T::Node) -> Drain<T> {
        let mut next = ptr::null_mut();
        while !head.is_null() && head != closed() {
            // SAFETY: the chain was taken whole, so its links are this thread's now.
            unsafe {
                let older = T::next(head);
                T::set_next(head, next);
                next = head;
                head = older;
            }
        }
        Drain { next }
    }
}

impl<T: Linked> Iterator for Drain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next.is_null() {
            return None;
        }
        let node = self.next;
        // SAFETY: as above. The reference that the push gave away is taken back, and the task may
        // be pushed again only after `taken_out`.
        unsafe {
            self.next = T::next(node);
            let task = T::from_raw(node);
            task.taken_out();
            Some(task)
        }
    }
}

impl<T: Linked> Drop for Drain<T> {
    fn drop(&mut self) {
        self.for_each(T::dismiss);
    }
}
