//! What a multishot operation has delivered for a handle, and nobody has taken yet.
//!
//! The items belong to the handle and not to whoever waits, so that nothing is lost when a waiting
//! future is dropped: the next one takes it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use crate::driver::Token;

/// Items in order, and the multishot operation that they come from.
pub(crate) struct Feed<T> {
    items: RefCell<VecDeque<io::Result<T>>>,
    armed: Cell<Option<Token>>,
    waker: Cell<Option<Waker>>,
}

impl<T> Feed<T> {
    pub(crate) fn new() -> Feed<T> {
        let items = RefCell::new(VecDeque::new());
        Feed { items, armed: Cell::new(None), waker: Cell::new(None) }
    }

    /// The multishot operation, if one is under way.
    pub(crate) fn armed(&self) -> Option<Token> {
        self.armed.get()
    }

    pub(crate) fn set_armed(&self, token: Token) {
        debug_assert!(self.armed.get().is_none(), "a multishot is armed twice");
        self.armed.set(Some(token));
    }

    /// The multishot operation has ended.
    pub(crate) fn set_disarmed(&self) {
        self.armed.set(None);
    }

    pub(crate) fn push(&self, item: io::Result<T>) {
        self.items.borrow_mut().push_back(item);
    }

    /// Puts what is left of an item back to where it was.
    pub(crate) fn put_back(&self, item: T) {
        self.items.borrow_mut().push_front(Ok(item));
    }

    pub(crate) fn pop(&self) -> Option<io::Result<T>> {
        self.items.borrow_mut().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.borrow().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.borrow().is_empty()
    }

    /// Drops all items.
    pub(crate) fn clear(&self) {
        drop(std::mem::take(&mut *self.items.borrow_mut()));
    }

    /// Remembers whom to wake when something comes.
    pub(crate) fn set_waker(&self, cx: &mut Context<'_>) {
        let waker = match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.waker.set(Some(waker));
    }

    /// Whom to wake now that something has come.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.waker.take()
    }

    /// Ready when no multishot operation is under way.
    pub(crate) fn poll_disarmed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed.get().is_none() {
            return Poll::Ready(());
        }
        self.set_waker(cx);
        Poll::Pending
    }
}
