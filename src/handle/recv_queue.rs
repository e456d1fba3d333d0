//! What a multishot operation has delivered for a handle, and nobody has taken yet.
//!
//! The items belong to the handle and not to whoever waits, so that nothing is lost when a waiting
//! future is dropped: the next one takes it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use crate::completion::Token;

/// Items in order, and the multishot operation that they come from.
///
/// It seldom has more than one item, and there are as many queues as connections: the first item
/// stands in the queue itself, and the others need memory only while there are any. So an item is moved in once and out
/// once, and nothing else is touched.
pub(crate) struct RecvQueue<T> {
    first: Cell<Option<io::Result<T>>>,
    /// Those behind the first. There are none without a first.
    others: Cell<Option<Others<T>>>,
    armed: Cell<Option<Token>>,
    waker: Cell<Option<Waker>>,
}

// Boxed once more, so that an idle connection pays one word for it.
#[allow(clippy::box_collection)]
type Others<T> = Box<VecDeque<io::Result<T>>>;

impl<T> RecvQueue<T> {
    pub(crate) fn new() -> RecvQueue<T> {
        RecvQueue {
            first: Cell::new(None),
            others: Cell::new(None),
            armed: Cell::new(None),
            waker: Cell::new(None),
        }
    }

    #[cold]
    fn push_other(
        &self,
        item: io::Result<T>,
        push: fn(&mut VecDeque<io::Result<T>>, io::Result<T>),
    ) {
        let mut others = self.others.take().unwrap_or_default();
        push(&mut others, item);
        self.others.set(Some(others));
    }

    /// The first has been taken: the next moves up.
    #[cold]
    fn move_up(&self, mut others: Others<T>) {
        self.first.set(others.pop_front());
        if !others.is_empty() {
            self.others.set(Some(others));
        }
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
        // Nearly always there is none before it.
        if let Some(first) = self.first.replace(Some(item)) {
            if let Some(item) = self.first.replace(Some(first)) {
                self.push_other(item, VecDeque::push_back);
            }
        }
    }

    /// Puts what is left of an item back to where it was.
    pub(crate) fn put_back(&self, item: T) {
        self.put_first(Ok(item));
    }

    fn put_first(&self, item: io::Result<T>) {
        if let Some(second) = self.first.replace(Some(item)) {
            self.push_other(second, VecDeque::push_front);
        }
    }

    /// Takes the first item, unless that is an error.
    pub(crate) fn pop_good(&self) -> Option<T> {
        match self.pop()? {
            Ok(item) => Some(item),
            Err(error) => {
                self.put_first(Err(error));
                None
            }
        }
    }

    pub(crate) fn pop(&self) -> Option<io::Result<T>> {
        let item = self.first.take();
        if let Some(others) = self.others.take() {
            self.move_up(others);
        }
        item
    }

    /// Whether there are so many items, which is two at least.
    pub(crate) fn has(&self, count: usize) -> bool {
        debug_assert!(count > 1);
        let others = self.others.take();
        let long = others.as_ref().is_some_and(|others| others.len() >= count - 1);
        self.others.set(others);
        long
    }

    pub(crate) fn is_empty(&self) -> bool {
        let first = self.first.take();
        let empty = first.is_none();
        self.first.set(first);
        empty
    }

    /// Drops all items.
    pub(crate) fn clear(&self) {
        while let Some(item) = self.pop() {
            drop(item);
        }
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

    /// The data of that waker.
    pub(crate) fn waiter(&self) -> Option<*const ()> {
        let waker = self.waker.take();
        let data = waker.as_ref().map(Waker::data);
        self.waker.set(waker);
        data
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_in_order() {
        let queue = RecvQueue::new();
        (1..=4).for_each(|item| queue.push(Ok(item)));
        assert!(queue.has(4) && !queue.has(5));
        let first = queue.pop().unwrap().unwrap();
        queue.put_back(first);
        let all: Vec<i32> = std::iter::from_fn(|| queue.pop()).map(Result::unwrap).collect();
        assert_eq!(all, [1, 2, 3, 4]);
        assert!(queue.is_empty());
    }
}
