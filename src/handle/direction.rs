//! One direction of a handle: whose turn it is, who waits for the turn, and until when.
//!
//! There are two of these for each connection, so it is kept small: what most connections never
//! have is apart, and takes one word.

use std::cell::{Cell, OnceCell, RefCell};
use std::task::Waker;
use std::time::Instant;

use crate::completion::Token;
use crate::sync::{Position, WaitQueue};
use crate::timer::TimerKey;

/// Nobody has the turn.
const FREE: u64 = 0;
/// Somebody has the turn, and no operation in flight. (No token has these bits: see `Kind`.)
const TAKEN: u64 = 1;

/// One direction of a handle.
#[derive(Default)]
pub(super) struct Direction {
    /// `FREE`, `TAKEN`, or the token of the operation of the one whose turn it is.
    holder: Cell<u64>,
    rest: OnceCell<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    line: RefCell<WaitQueue>,
    deadline: Deadline,
}

/// Until when whoever waits in a direction does so.
#[derive(Default)]
pub(super) struct Deadline {
    pub(super) at: Cell<Option<Instant>>,
    /// What wakes who waits at the deadline, or before: the timer stays where it is when the
    /// deadline is moved later, so that moving it with every operation costs nothing.
    pub(super) timer: Cell<Option<(TimerKey, Instant)>>,
}

impl Direction {
    /// Whether somebody has the turn.
    pub(super) fn is_taken(&self) -> bool {
        self.holder.get() != FREE
    }

    /// Whether somebody waits for the turn.
    pub(super) fn is_awaited(&self) -> bool {
        self.rest.get().is_some_and(|rest| !rest.line.borrow().is_empty())
    }

    /// Takes the turn, if nobody has it or wants it.
    pub(super) fn take_if_free(&self) -> bool {
        let free = !self.is_taken() && !self.is_awaited();
        if free {
            self.holder.set(TAKEN);
        }
        free
    }

    /// Takes the turn, if it is free and nobody came before; else stands in the line.
    #[cold]
    pub(super) fn take_or_wait(&self, place: &mut Option<Position>, waker: &Waker) -> bool {
        let mut line = self.rest.get_or_init(Box::default).line.borrow_mut();
        if self.is_taken() || line.before(*place) > 0 {
            line.stand(place, waker);
            return false;
        }
        let left = place.take().and_then(|place| line.leave(place));
        self.holder.set(TAKEN);
        drop(line);
        drop(left);
        true
    }

    /// Gives the turn back.
    pub(super) fn give_back(&self) {
        self.holder.set(FREE);
        self.offer();
    }

    /// Leaves the line.
    #[cold]
    pub(super) fn leave(&self, place: Position) {
        let rest = self.rest.get().expect("there is a line to have a place in");
        let left = rest.line.borrow_mut().leave(place);
        drop(left);
        if !self.is_taken() {
            // The turn may have been offered to the one who has just left.
            self.offer();
        }
    }

    /// Wakes the first who waits, since the turn is free.
    fn offer(&self) {
        let Some(rest) = self.rest.get() else { return };
        let first = rest.line.borrow().first(1);
        first.into_iter().for_each(Waker::wake);
    }

    /// Those who wait for the turn.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.rest.get().map(|rest| rest.line.borrow().first(usize::MAX)).unwrap_or_default()
    }

    /// What the one whose turn it is waits for.
    pub(super) fn current(&self) -> Option<Token> {
        match self.holder.get() {
            FREE | TAKEN => None,
            bits => Token::from_bits(bits),
        }
    }

    /// Notes what whoever has the turn waits for.
    pub(super) fn set_current(&self, token: Option<Token>) {
        debug_assert!(self.is_taken());
        self.holder.set(token.map_or(TAKEN, Token::bits));
    }

    /// The deadline, if there ever was one.
    pub(super) fn deadline(&self) -> Option<&Deadline> {
        self.rest.get().map(|rest| &rest.deadline)
    }

    /// Moves the deadline. Its timer stays.
    pub(super) fn set_deadline(&self, at: Option<Instant>) {
        if at.is_some() || self.rest.get().is_some() {
            self.rest.get_or_init(Box::default).deadline.at.set(at);
        }
    }
}
