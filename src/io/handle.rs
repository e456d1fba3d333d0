//! A descriptor that user handles and operations in flight share.
//!
//! # Who keeps what open
//! The descriptor is closed when the last `Rc<Handle>` goes. User handles hold one each, and so does
//! every operation in flight, in its turn or as the sink of a multishot. When the last *user* handle
//! goes, what is still in flight is asked to end, and the descriptor follows it. So no operation
//! ever names a number that has been closed and opened again.
//!
//! # Directions
//! Reading and writing are separate: each direction has a line (first come, first served) and one
//! operation at a time, which holds the turn. An operation whose future was dropped keeps the turn
//! until the kernel has answered, so that what it still received comes before what is read next.
//!
//! # Closing
//! ```text
//!   open ──close()──▶ closing: nobody may begin, who waits is told Closed, what is in flight is
//!                        │      asked to end
//!                        │ both turns had, the multishot over
//!                        ▼
//!                     closed: the number is given back to the kernel
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::error::{timed_out, Closed};
use super::feed::Feed;
use super::submission::Submission;
use crate::driver::Token;
use crate::op::{self, Interest, KeepsOpen, Op};
use crate::runtime::Core;
use crate::sys::SharedFd;
use crate::time::{clock, TimerKey};

/// One direction of a handle.
#[derive(Default)]
struct Direction {
    deadline: Cell<Option<Instant>>,
    /// What wakes who waits at the deadline, or before: the timer stays where it is when the
    /// deadline is moved later, so that moving it with every operation costs nothing.
    timer: Cell<Option<(TimerKey, Instant)>>,
    /// Somebody has the turn.
    taken: Cell<bool>,
    /// The operation of the one who has it, while it waits.
    current: Cell<Option<Token>>,
    /// Who waits for the turn, in order; nearly always nobody.
    line: RefCell<Line>,
}

/// Those who wait for a turn, in order, each with his ticket. It takes one word while it is empty.
#[derive(Default)]
struct Line(Option<Box<(u64, VecDeque<(u64, Waker)>)>>);

impl Line {
    fn first(&self) -> Option<&(u64, Waker)> {
        self.0.as_ref().and_then(|line| line.1.front())
    }

    fn pop(&mut self) {
        if let Some(line) = &mut self.0 {
            line.1.pop_front();
        }
    }

    /// Stands in the line, or keeps standing there: the ticket.
    fn stand(&mut self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let (next, line) = &mut **self.0.get_or_insert_default();
        match ticket {
            Some(ticket) => {
                let mine = line.iter_mut().find(|(other, _)| *other == ticket);
                mine.expect("a ticket stands in the line").1.clone_from(waker);
                ticket
            }
            None => {
                *next += 1;
                line.push_back((*next, waker.clone()));
                *next
            }
        }
    }

    fn leave(&mut self, ticket: u64) -> Option<(u64, Waker)> {
        let line = &mut self.0.as_mut()?.1;
        let index = line.iter().position(|(other, _)| *other == ticket)?;
        line.remove(index)
    }

    fn wakers(&self) -> impl Iterator<Item = Waker> + '_ {
        self.0.iter().flat_map(|line| line.1.iter().map(|(_, waker)| waker.clone()))
    }
}

/// An open descriptor, its two directions, and what a multishot has delivered for it.
pub(crate) struct Handle<T: 'static> {
    pub(crate) core: Rc<Core>,
    fd: SharedFd,
    nonblocking: bool,
    users: Cell<u32>,
    closing: Cell<bool>,
    read: Direction,
    write: Direction,
    /// What a multishot operation has delivered.
    pub(crate) feed: Feed<T>,
}

impl<T: 'static> Handle<T> {
    /// Takes a descriptor over; `nonblocking` is its mode. The caller is its first user.
    pub(crate) fn new(core: Rc<Core>, fd: OwnedFd, nonblocking: bool) -> Rc<Handle<T>> {
        Rc::new(Handle {
            core,
            fd: SharedFd::new(fd),
            nonblocking,
            users: Cell::new(1),
            closing: Cell::new(false),
            read: Direction::default(),
            write: Direction::default(),
            feed: Feed::new(),
        })
    }

    /// Whether the descriptor is non-blocking for good.
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking
    }

    /// Whether it has been closed, or is about to be.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The number; -1 once it is closed.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.number()
    }

    /// Calls `call` with the descriptor. Fails if it is closed, or about to be.
    pub(crate) fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        match self.closing.get() {
            true => Err(Closed::error()),
            false => self.fd.with(call).ok_or_else(Closed::error),
        }
    }

    /// Takes the descriptor out of a handle that nothing is under way on; it is closed then.
    pub(crate) fn take_fd(&self) -> io::Result<OwnedFd> {
        debug_assert!(!self.read.taken.get() && !self.write.taken.get());
        self.closing.set(true);
        self.fd.take().ok_or_else(Closed::error)
    }

    /// One user handle more.
    pub(crate) fn add_user(&self) {
        self.users.set(self.users.get() + 1);
    }

    /// One user handle less. With the last one, what is in flight is asked to end.
    pub(crate) fn remove_user(&self) {
        self.users.set(self.users.get() - 1);
        if self.users.get() == 0 {
            self.cancel_feed();
        }
    }

    pub(crate) fn cancel_feed(&self) {
        if let Some(token) = self.feed.armed() {
            self.core.driver.borrow_mut().cancel(token);
        }
    }

    fn direction(&self, interest: Interest) -> &Direction {
        match interest {
            Interest::Readable => &self.read,
            Interest::Writable => &self.write,
        }
    }

    /// Moves the deadline of a direction; who waits there takes notice.
    pub(crate) fn set_deadline(&self, interest: Interest, at: Option<Instant>) {
        let direction = self.direction(interest);
        direction.deadline.set(at);
        if at.is_none() {
            self.disarm_deadline(direction);
        }
        self.wake_waiting(interest);
    }

    /// Lets the deadline of a direction wake the task, which has found that it must wait there.
    pub(crate) fn arm_deadline(&self, interest: Interest, cx: &mut Context<'_>) {
        let direction = self.direction(interest);
        let Some(deadline) = direction.deadline.get() else { return };
        let mut timers = self.core.timers.borrow_mut();
        let old = match direction.timer.get() {
            Some((key, at)) if at <= deadline && timers.is_pending(key) => {
                timers.set_waker(key, cx.waker())
            }
            other => {
                let key = timers.insert(deadline, cx.waker().clone());
                direction.timer.set(Some((key, deadline)));
                other.and_then(|(key, _)| timers.remove(key))
            }
        };
        drop(timers);
        // Dropped only now: a waker may run code of its own.
        drop(old);
    }

    /// True if there was a timer.
    fn disarm_deadline(&self, direction: &Direction) -> bool {
        let Some((key, _)) = direction.timer.take() else { return false };
        let waker = self.core.timers.borrow_mut().remove(key);
        drop(waker);
        true
    }

    /// Lets all who wait in a direction look again.
    fn wake_waiting(&self, interest: Interest) {
        let direction = self.direction(interest);
        let current = direction.current.get();
        let waker = current.and_then(|token| self.core.driver.borrow_mut().waker(token));
        let mut wakers: Vec<Waker> = direction.line.borrow().wakers().collect();
        wakers.extend(waker);
        if interest == Interest::Readable {
            wakers.extend(self.feed.take_waker());
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why nobody may begin or go on in a direction, if there is a reason.
    pub(crate) fn refusal(&self, interest: Interest) -> Option<io::Error> {
        if self.closing.get() {
            return Some(Closed::error());
        }
        let direction = self.direction(interest);
        if direction.deadline.get()? > clock::now() {
            return None;
        }
        // The timer has woken one of those who wait: it tells the others.
        if self.disarm_deadline(direction) {
            self.wake_waiting(interest);
        }
        Some(timed_out())
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
        let direction = self.handle.direction(self.interest);
        direction.taken.set(false);
        direction.current.set(None);
        wake_first(direction);
    }
}

fn wake_first(direction: &Direction) {
    let first = direction.line.borrow().first().map(|(_, waker)| waker.clone());
    if let Some(waker) = first {
        waker.wake();
    }
}

/// A place in the line of a direction.
struct Place<'a> {
    direction: &'a Direction,
    ticket: Option<u64>,
}

impl<'a> Place<'a> {
    fn new(direction: &'a Direction) -> Place<'a> {
        Place { direction, ticket: None }
    }

    /// Takes the turn, if it is free and nobody came before.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut line = self.direction.line.borrow_mut();
        let first = line.first().map(|(ticket, _)| *ticket);
        if !self.direction.taken.get() && first == self.ticket {
            line.pop();
            self.ticket = None;
            self.direction.taken.set(true);
            return true;
        }
        self.ticket = Some(line.stand(self.ticket, cx.waker()));
        false
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let left = self.direction.line.borrow_mut().leave(ticket);
        drop(left);
        if !self.direction.taken.get() {
            // The turn may have been offered to the one who has just left.
            wake_first(self.direction);
        }
    }
}

/// Waits for the turn in a direction. Fails if the handle is closed or the deadline passes.
pub(crate) fn turn<T: 'static>(handle: &Rc<Handle<T>>, interest: Interest) -> WaitTurn<'_, T> {
    let place = Place::new(handle.direction(interest));
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
        if place.poll(cx) {
            return Poll::Ready(Ok(Turn { handle: handle.clone(), interest: *interest }));
        }
        handle.arm_deadline(*interest, cx);
        Poll::Pending
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
        let rename = |error| stopped.take().unwrap_or(error);
        if let Poll::Ready(output) = submission.poll_with(cx, rename) {
            return Poll::Ready(output);
        }
        handle.direction(*interest).current.set(submission.token());
        if stopped.is_none() {
            *stopped = handle.refusal(*interest);
            match stopped {
                Some(_) => submission.cancel(),
                None => handle.arm_deadline(*interest, cx),
            }
        }
        Poll::Pending
    }
}

/// Closes the descriptor: ends everything in flight, and returns when the number is free.
pub(crate) async fn close<T: 'static>(handle: &Rc<Handle<T>>) -> io::Result<()> {
    if handle.closing.replace(true) {
        return Err(Closed::error());
    }
    handle.wake_waiting(Interest::Readable);
    handle.wake_waiting(Interest::Writable);
    handle.cancel_feed();
    let _reading = last_turn(handle, Interest::Readable).await;
    let _writing = last_turn(handle, Interest::Writable).await;
    poll_fn(|cx| handle.feed.poll_disarmed(cx)).await;
    handle.feed.clear();
    handle.core.driver.borrow_mut().forget_descriptor(handle.fd());
    let fd = handle.fd.take().expect("a handle is closed once");
    Submission::new(handle.core.clone(), op::Close::new(fd)).await
}

/// Waits for a turn of a handle that is closing.
async fn last_turn<T: 'static>(handle: &Rc<Handle<T>>, interest: Interest) -> LastTurn<'_> {
    let direction = handle.direction(interest);
    let mut place = Place::new(direction);
    poll_fn(|cx| if place.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    LastTurn { direction }
}

/// A turn after which there is none.
struct LastTurn<'a> {
    direction: &'a Direction,
}

impl Drop for LastTurn<'_> {
    fn drop(&mut self) {
        self.direction.taken.set(false);
        wake_first(self.direction);
    }
}

impl<T: 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        self.disarm_deadline(&self.read);
        self.disarm_deadline(&self.write);
        if let Some(fd) = self.fd.take() {
            self.core.driver.borrow_mut().close_detached(fd);
        }
    }
}
