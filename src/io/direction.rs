//! One direction of a handle: whose turn it is, who waits for the turn, and until when.
//!
//! There are two of these for each connection, so it is kept small: what most connections never
//! have is apart, and takes one word.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::task::Waker;
use std::time::Instant;

use crate::driver::Token;
use crate::time::TimerKey;

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
    waiting: RefCell<Waiting>,
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
        self.rest.get().is_some_and(|rest| !rest.waiting.borrow().queue.is_empty())
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
    pub(super) fn take_or_wait(&self, ticket: &mut Option<NonZeroU64>, waker: &Waker) -> bool {
        let mut waiting = self.rest.get_or_init(Box::default).waiting.borrow_mut();
        let first = waiting.queue.front().map(|(ticket, _)| *ticket);
        if !self.is_taken() && first == *ticket {
            waiting.queue.pop_front();
            *ticket = None;
            self.holder.set(TAKEN);
            return true;
        }
        *ticket = Some(waiting.stand(*ticket, waker));
        false
    }

    /// Gives the turn back.
    pub(super) fn give_back(&self) {
        self.holder.set(FREE);
        self.offer();
    }

    /// Leaves the line.
    #[cold]
    pub(super) fn leave(&self, ticket: NonZeroU64) {
        let rest = self.rest.get().expect("a ticket stands in the line");
        let left = rest.waiting.borrow_mut().leave(ticket);
        drop(left);
        if !self.is_taken() {
            // The turn may have been offered to the one who has just left.
            self.offer();
        }
    }

    /// Wakes the first who waits, since the turn is free.
    fn offer(&self) {
        let Some(rest) = self.rest.get() else { return };
        let first = rest.waiting.borrow().queue.front().map(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }

    /// Those who wait for the turn.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        let Some(rest) = self.rest.get() else { return Vec::new() };
        let waiting = rest.waiting.borrow();
        waiting.queue.iter().map(|(_, waker)| waker.clone()).collect()
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

/// Those who wait, in order, each with his ticket.
#[derive(Default)]
struct Waiting {
    /// How many have been given out: from 1, so that a task that has none pays no more for it.
    tickets: u64,
    queue: VecDeque<(NonZeroU64, Waker)>,
}

impl Waiting {
    /// Stands in the line, or keeps standing there: the ticket.
    fn stand(&mut self, ticket: Option<NonZeroU64>, waker: &Waker) -> NonZeroU64 {
        match ticket {
            Some(ticket) => {
                let mine = self.queue.iter_mut().find(|(other, _)| *other == ticket);
                mine.expect("a ticket stands in the line").1.clone_from(waker);
                ticket
            }
            None => {
                self.tickets += 1;
                let ticket = NonZeroU64::new(self.tickets).expect("it counts from 1");
                self.queue.push_back((ticket, waker.clone()));
                ticket
            }
        }
    }

    fn leave(&mut self, ticket: NonZeroU64) -> Option<(NonZeroU64, Waker)> {
        let index = self.queue.iter().position(|(other, _)| *other == ticket)?;
        self.queue.remove(index)
    }
}
