//! A line of those who wait for something, in the order in which they have come.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::task::Waker;

/// A place in a line: it is its owner's until he leaves, however often he asks meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position(NonZeroU64);

/// Those who wait.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// How many places have been given out: from 1, so that whoever has none pays no more for it.
    given: u64,
    waiting: VecDeque<(Position, Waker)>,
}

impl WaitQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Stands at the end, or stays where he stands; `waker` is the one to use from now on.
    pub(crate) fn stand(&mut self, place: &mut Option<Position>, waker: &Waker) {
        match *place {
            Some(mine) => {
                let index = self.index(mine).expect("who has a place stands in the line");
                self.waiting[index].1.clone_from(waker);
            }
            None => {
                self.given += 1;
                let new = Position(NonZeroU64::new(self.given).expect("it counts from 1"));
                self.waiting.push_back((new, waker.clone()));
                *place = Some(new);
            }
        }
    }

    /// Leaves, and gives the waker back, to be dropped where nothing is borrowed.
    pub(crate) fn leave(&mut self, place: Position) -> Option<Waker> {
        let index = self.index(place)?;
        self.waiting.remove(index).map(|(_, waker)| waker)
    }

    /// How many stand before this place, or before whoever comes next.
    pub(crate) fn before(&self, place: Option<Position>) -> usize {
        place.and_then(|place| self.index(place)).unwrap_or(self.waiting.len())
    }

    /// The wakers of the first ones.
    pub(crate) fn first(&self, count: usize) -> Vec<Waker> {
        self.waiting.iter().take(count).map(|(_, waker)| waker.clone()).collect()
    }

    fn index(&self, place: Position) -> Option<usize> {
        self.waiting.iter().position(|(other, _)| *other == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_stands_first_until_he_leaves() {
        let mut line = WaitQueue::default();
        let [mut one, mut two] = [None; 2];
        line.stand(&mut one, Waker::noop());
        line.stand(&mut two, Waker::noop());
        assert_eq!([line.before(one), line.before(two), line.before(None)], [0, 1, 2]);
        let before = one;
        line.stand(&mut one, Waker::noop());
        assert_eq!((one, line.before(one)), (before, 0), "he stays where he is");
        assert_eq!(line.first(5).len(), 2);
        assert!(line.leave(one.unwrap()).is_some());
        assert!(line.leave(one.unwrap()).is_none(), "he has gone already");
        assert_eq!([line.before(two), line.before(None)], [0, 1]);
        line.leave(two.unwrap());
        assert!(line.is_empty() && line.first(5).is_empty());
    }
}
