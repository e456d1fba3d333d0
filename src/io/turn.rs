//! Whose turn it is in one direction of a handle, and the operation of the one whose turn it is.
//!
//! First come, first served. The turn goes with the operation: one whose future was dropped keeps it
//! until the kernel has answered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::handle::Handle;
use super::submission::Submission;
use crate::op::{Interest, KeepsOpen, Op};

/// Who has the turn, and who waits for it.
#[derive(Default)]
pub(super) struct Line {
    taken: Cell<bool>,
    waiting: RefCell<Waiting>,
}

impl Line {
    /// Whether somebody has the turn.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.get()
    }

    /// Whether somebody waits for the turn.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.borrow().first().is_some()
    }

    /// Those who wait.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.waiting.borrow().wakers().collect()
    }

    fn give_back(&self) {
        self.taken.set(false);
        self.offer();
    }

    /// Wakes the first who waits, since the turn is free.
    fn offer(&self) {
        let first = self.waiting.borrow().first().map(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

/// The turn in one direction of a handle. Whoever has it may start an operation there; it goes to
/// the next in line when it is dropped.
pub(crate) struct Turn<T: 'static> {
    handle: Rc<Handle<T>>,
    interest: Interest,
}

impl<T> Turn<T> {
    pub(crate) fn handle(&self) -> &Rc<Handle<T>> {
        &self.handle
    }
}

impl<T> KeepsOpen for Turn<T> {
    fn fd(&self) -> RawFd {
        // A turn is had only while the descriptor is open, and closing takes both turns first.
        debug_assert!(self.handle.fd() >= 0);
        self.handle.fd()
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        self.handle.set_current(self.interest, None);
        self.handle.line(self.interest).give_back();
    }
}

/// A place in a line.
struct Place<'a> {
    line: &'a Line,
    ticket: Option<u64>,
}

impl<'a> Place<'a> {
    fn new(line: &'a Line) -> Place<'a> {
        Place { line, ticket: None }
    }

    /// Takes the turn, if nobody has it or wants it.
    fn take_if_free(&self) -> bool {
        let free = !self.line.taken.get() && self.line.waiting.borrow().first().is_none();
        if free {
            self.line.taken.set(true);
        }
        free
    }

    /// Takes the turn, if it is free and nobody came before; else stands in the line.
    #[cold]
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut waiting = self.line.waiting.borrow_mut();
        let first = waiting.first().map(|(ticket, _)| *ticket);
        if !self.line.taken.get() && first == self.ticket {
            waiting.pop();
            self.ticket = None;
            self.line.taken.set(true);
            return true;
        }
        self.ticket = Some(waiting.stand(self.ticket, cx.waker()));
        false
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.leave(ticket);
        }
    }
}

impl Place<'_> {
    #[cold]
    fn leave(&self, ticket: u64) {
        let left = self.line.waiting.borrow_mut().leave(ticket);
        drop(left);
        if !self.line.taken.get() {
            // The turn may have been offered to the one who has just left.
            self.line.offer();
        }
    }
}

/// Waits for the turn in a direction. Fails if the handle is closed or the deadline passes.
pub(crate) fn turn<T: 'static>(handle: &Rc<Handle<T>>, interest: Interest) -> WaitTurn<'_, T> {
    let place = Place::new(handle.line(interest));
    WaitTurn { handle, interest, place }
}

/// The future of [`turn`]. It is written out, like [`Perform`], since it is part of the state of
/// every task that waits for its connection, and this way it is smallest.
pub(crate) struct WaitTurn<'a, T: 'static> {
    handle: &'a Rc<Handle<T>>,
    interest: Interest,
    place: Place<'a>,
}

impl<T> Future for WaitTurn<'_, T> {
    type Output = io::Result<Turn<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WaitTurn { handle, interest, place } = self.get_mut();
        if let Some(error) = handle.refusal(*interest) {
            return Poll::Ready(Err(error));
        }
        // Nearly always nobody else is there.
        if place.take_if_free() || place.poll(cx) {
            return Poll::Ready(Ok(Turn { handle: handle.clone(), interest: *interest }));
        }
        handle.arm_deadline(*interest, cx);
        Poll::Pending
    }
}

impl<T> Drop for WaitTurn<'_, T> {
    fn drop(&mut self) {
        if self.place.ticket.is_some() {
            // The timer of the direction may know nobody but this one.
            self.handle.rearm(self.interest);
        }
    }
}

/// Runs an operation that has the turn, until it is answered. If the handle is closed or the
/// deadline passes it is asked to end, and only if it then does not succeed that is the error.
pub(crate) fn perform<T: 'static, O: Op>(
    handle: &Rc<Handle<T>>,
    interest: Interest,
    op: O,
) -> Perform<'_, T, O> {
    let submission = Submission::new(handle.core.clone(), op);
    Perform { handle, interest, submission, stopped: None }
}

/// The future of [`perform`].
pub(crate) struct Perform<'a, T: 'static, O: Op> {
    handle: &'a Rc<Handle<T>>,
    interest: Interest,
    submission: Submission<O>,
    /// Why it was asked to end.
    stopped: Option<io::Error>,
}

impl<T, O: Op> Future for Perform<'_, T, O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let Perform { handle, interest, submission, stopped } = self.get_mut();
        let refusal = || handle.refusal_to_start(*interest);
        if let Poll::Ready(result) = submission.poll_with(cx, refusal) {
            return Poll::Ready(
                result
                    .unwrap_or_else(|cancelled| cancelled.finish(stopped.take().or_else(refusal))),
            );
        }
        handle.set_current(*interest, submission.token());
        if stopped.is_none() {
            *stopped = refusal();
            match stopped {
                Some(_) => submission.cancel(),
                None => handle.arm_deadline(*interest, cx),
            }
        }
        Poll::Pending
    }
}

/// Those who wait, in order, each with his ticket. It takes one word while nobody does.
#[derive(Default)]
struct Waiting(Option<Box<Places>>);

#[derive(Default)]
struct Places {
    last_ticket: u64,
    queue: VecDeque<(u64, Waker)>,
}

impl Waiting {
    fn first(&self) -> Option<&(u64, Waker)> {
        self.0.as_ref().and_then(|places| places.queue.front())
    }

    fn pop(&mut self) {
        if let Some(places) = &mut self.0 {
            places.queue.pop_front();
        }
    }

    /// Stands in the line, or keeps standing there: the ticket.
    fn stand(&mut self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let places = self.0.get_or_insert_default();
        match ticket {
            Some(ticket) => {
                let mine = places.queue.iter_mut().find(|(other, _)| *other == ticket);
                mine.expect("a ticket stands in the line").1.clone_from(waker);
                ticket
            }
            None => {
                places.last_ticket += 1;
                places.queue.push_back((places.last_ticket, waker.clone()));
                places.last_ticket
            }
        }
    }

    fn leave(&mut self, ticket: u64) -> Option<(u64, Waker)> {
        let queue = &mut self.0.as_mut()?.queue;
        let index = queue.iter().position(|(other, _)| *other == ticket)?;
        queue.remove(index)
    }

    fn wakers(&self) -> impl Iterator<Item = Waker> + '_ {
        self.0.iter().flat_map(|places| places.queue.iter().map(|(_, waker)| waker.clone()))
    }
}
