//! What a multishot operation has delivered for a handle, and nobody has taken yet.
//!
//! The items belong to the handle and not to whoever waits, so that nothing is lost when a waiting
//! future is dropped: the next one takes it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use crate::driver::Token;

/// Items in order, and the multishot operation that they come from.
pub(crate) struct Feed<T> {
    items: Cell<Items<T>>,
    armed: Cell<Option<Token>>,
    waker: Cell<Option<Waker>>,
}

/// A queue that seldom has more than one item, of which there are as many as connections: the first
/// stands in it, and the others need memory only while there are any.
struct Items<T> {
    first: Option<io::Result<T>>,
    // Boxed once more, so that an idle connection pays one word for it.
    #[allow(clippy::box_collection)]
    others: Option<Box<VecDeque<io::Result<T>>>>,
}

impl<T> Default for Items<T> {
    fn default() -> Items<T> {
        Items { first: None, others: None }
    }
}

impl<T> Items<T> {
    fn push_back(&mut self, item: io::Result<T>) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.others.get_or_insert_default().push_back(item),
        }
    }

    fn push_front(&mut self, item: io::Result<T>) {
        if let Some(second) = self.first.replace(item) {
            self.others.get_or_insert_default().push_front(second);
        }
    }

    fn pop_front(&mut self) -> Option<io::Result<T>> {
        let item = self.first.take();
        if let Some(others) = &mut self.others {
            self.first = others.pop_front();
            if others.is_empty() {
                self.others = None;
            }
        }
        item
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }
}

impl<T> Feed<T> {
    pub(crate) fn new() -> Feed<T> {
        Feed { items: Cell::default(), armed: Cell::new(None), waker: Cell::new(None) }
    }

    fn with_items<R>(&self, call: impl FnOnce(&mut Items<T>) -> R) -> R {
        let mut items = self.items.take();
        let result = call(&mut items);
        self.items.set(items);
        result
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
        self.with_items(|items| items.push_back(item));
    }

    /// Puts what is left of an item back to where it was.
    pub(crate) fn put_back(&self, item: T) {
        self.with_items(|items| items.push_front(Ok(item)));
    }

    /// Takes the first item, unless that is an error.
    pub(crate) fn pop_good(&self) -> Option<T> {
        self.with_items(|items| match items.first {
            Some(Ok(_)) => items.pop_front().and_then(Result::ok),
            _ => None,
        })
    }

    pub(crate) fn pop(&self) -> Option<io::Result<T>> {
        self.with_items(Items::pop_front)
    }

    pub(crate) fn len(&self) -> usize {
        self.with_items(|items| items.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.with_items(|items| items.first.is_none())
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
        let feed = Feed::new();
        (1..=4).for_each(|item| feed.push(Ok(item)));
        assert_eq!(feed.len(), 4);
        let first = feed.pop().unwrap().unwrap();
        feed.put_back(first);
        let all: Vec<i32> = std::iter::from_fn(|| feed.pop()).map(Result::unwrap).collect();
        assert_eq!(all, [1, 2, 3, 4]);
        assert!(feed.is_empty());
    }
}
