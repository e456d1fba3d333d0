//! Those who wait for something, in the order in which they have come.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::task::Waker;

/// A position in a wait queue. It stays the same until whoever has it leaves, however often he asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position(NonZeroU64);

/// Those who wait.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// How many positions have been given out. They count from 1, so that an `Option` of one costs no more.
    given: u64,
    waiting: VecDeque<(Position, Waker)>,
}

impl WaitQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Stands at the end, or stays where he stands; `waker` is the one to use from now on.
    pub(crate) fn stand(&mut self, position: &mut Option<Position>, waker: &Waker) {
        match *position {
            Some(mine) => {
                let index = self.index(mine).expect("who has a position stands in the queue");
                self.waiting[index].1.clone_from(waker);
            }
            None => {
                self.given += 1;
                let new = Position(NonZeroU64::new(self.given).expect("it counts from 1"));
                self.waiting.push_back((new, waker.clone()));
                *position = Some(new);
            }
        }
    }

    /// Leaves, and gives the waker back, to be dropped where nothing is borrowed.
    pub(crate) fn leave(&mut self, position: Position) -> Option<Waker> {
        let index = self.index(position)?;
        self.waiting.remove(index).map(|(_, waker)| waker)
    }

    /// How many stand before this position, or before whoever comes next.
    pub(crate) fn before(&self, position: Option<Position>) -> usize {
        position.and_then(|position| self.index(position)).unwrap_or(self.waiting.len())
    }

    /// The wakers of the first ones.
    pub(crate) fn first(&self, count: usize) -> Vec<Waker> {
        self.waiting.iter().take(count).map(|(_, waker)| waker.clone()).collect()
    }

    fn index(&self, position: Position) -> Option<usize> {
        self.waiting.iter().position(|(other, _)| *other == position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_stands_first_until_he_leaves() {
        let mut queue = WaitQueue::default();
        let [mut one, mut two] = [None; 2];
        queue.stand(&mut one, Waker::noop());
        queue.stand(&mut two, Waker::noop());
        assert_eq!([queue.before(one), queue.before(two), queue.before(None)], [0, 1, 2]);
        let before = one;
        queue.stand(&mut one, Waker::noop());
        assert_eq!((one, queue.before(one)), (before, 0), "he stays where he is");
        assert_eq!(queue.first(5).len(), 2);
        assert!(queue.leave(one.unwrap()).is_some());
        assert!(queue.leave(one.unwrap()).is_none(), "he has gone already");
        assert_eq!([queue.before(two), queue.before(None)], [0, 1]);
        queue.leave(two.unwrap());
        assert!(queue.is_empty() && queue.first(5).is_empty());
    }
}
