//! One direction of a handle: who has its permit, who waits for the permit, and until when.
//!
//! There are two of these for each connection, so it is kept small: what most connections never
//! have is apart, and takes one word.

use std::cell::{Cell, OnceCell, RefCell};
use std::task::Waker;
use std::time::Instant;

use crate::completion::Token;
use crate::sync::{Position, WaitQueue};
use crate::timer::TimerKey;

/// Nobody has the permit.
const FREE: u64 = 0;
/// Somebody has the permit, and no operation in flight. (No token has these bits: see `Kind`.)
const TAKEN: u64 = 1;

/// One direction of a handle.
#[derive(Default)]
pub(super) struct Direction {
    /// `FREE`, `TAKEN`, or the token of the operation that has the permit.
    holder: Cell<u64>,
    rest: OnceCell<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    waiting: RefCell<WaitQueue>,
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
    /// Whether somebody has the permit.
    pub(super) fn is_taken(&self) -> bool {
        self.holder.get() != FREE
    }

    /// Whether somebody waits for the permit.
    pub(super) fn is_awaited(&self) -> bool {
        self.rest.get().is_some_and(|rest| !rest.waiting.borrow().is_empty())
    }

    /// Takes the permit, if nobody has it or waits for it.
    pub(super) fn take_if_free(&self) -> bool {
        let free = !self.is_taken() && !self.is_awaited();
        if free {
            self.holder.set(TAKEN);
        }
        free
    }

    /// Takes the permit, if it is free and nobody came before; else stands in the wait queue.
    #[cold]
    pub(super) fn take_or_wait(&self, position: &mut Option<Position>, waker: &Waker) -> bool {
        let mut waiting = self.rest.get_or_init(Box::default).waiting.borrow_mut();
        if self.is_taken() || waiting.before(*position) > 0 {
            waiting.stand(position, waker);
            return false;
        }
        let left = position.take().and_then(|position| waiting.leave(position));
        self.holder.set(TAKEN);
        drop(waiting);
        drop(left);
        true
    }

    /// Gives the permit back.
    pub(super) fn give_back(&self) {
        self.holder.set(FREE);
        self.offer();
    }

    /// Leaves the wait queue.
    #[cold]
    pub(super) fn leave(&self, position: Position) {
        let rest = self.rest.get().expect("there is a wait queue to stand in");
        let left = rest.waiting.borrow_mut().leave(position);
        drop(left);
        if !self.is_taken() {
            // The permit may have been offered to the one who has just left.
            self.offer();
        }
    }

    /// Wakes the first who waits, since the permit is free.
    fn offer(&self) {
        let Some(rest) = self.rest.get() else { return };
        let first = rest.waiting.borrow().first(1);
        first.into_iter().for_each(Waker::wake);
    }

    /// Those who wait for the permit.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.rest.get().map(|rest| rest.waiting.borrow().first(usize::MAX)).unwrap_or_default()
    }

    /// The operation in flight of whoever has the permit.
    pub(super) fn current(&self) -> Option<Token> {
        match self.holder.get() {
            FREE | TAKEN => None,
            bits => Token::from_bits(bits),
        }
    }

    /// Notes the operation in flight of whoever has the permit.
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
