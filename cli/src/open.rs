//! How many connections are open on one core. No other core ever looks, so this is plain cells.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The connections open on one core, and the one task that may wait for some of them to end.
#[derive(Default)]
pub struct Open {
    count: Cell<usize>,
    waiter: RefCell<Option<Waker>>,
}

impl Open {
    /// One more is open, until the guard is dropped.
    pub fn enter(self: &Rc<Self>) -> OpenGuard {
        self.count.set(self.count.get() + 1);
        OpenGuard(self.clone())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// Resolves when fewer than `limit` are open. One task at a time may wait.
    pub fn fewer_than(&self, limit: usize) -> impl Future<Output = ()> + '_ {
        poll_fn(move |cx| {
            if self.count.get() < limit {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Counts as one open connection until it is dropped.
pub struct OpenGuard(Rc<Open>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        let waiter = self.0.waiter.borrow_mut().take();
        if let Some(waker) = waiter {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn who_waits_for_fewer_goes_on_as_soon_as_they_are_fewer() {
        let open = Rc::new(Open::default());
        let (first, second) = (open.enter(), open.enter());
        let mut cx = Context::from_waker(Waker::noop());
        let mut none_left = pin!(open.fewer_than(1));
        assert!(none_left.as_mut().poll(&mut cx).is_pending());
        assert!(open.waiter.borrow().is_some());
        drop(first);
        assert!(open.waiter.borrow().is_none(), "the waiter was woken");
        assert!(none_left.as_mut().poll(&mut cx).is_pending());
        assert!(pin!(open.fewer_than(2)).poll(&mut cx).is_ready());
        drop(second);
        assert!(none_left.as_mut().poll(&mut cx).is_ready());
        assert_eq!(open.count(), 0);
    }
}
