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
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::alarm::Alarm;
use super::error::{timed_out, Closed};
use super::feed::Feed;
use super::submission::Submission;
use crate::driver::Token;
use crate::op::{self, Interest, KeepsOpen, Op};
use crate::runtime::Core;
use crate::sys::SharedFd;
use crate::time::clock;

/// One direction of a handle.
#[derive(Default)]
struct Direction {
    deadline: Cell<Option<Instant>>,
    /// Somebody has the turn.
    taken: Cell<bool>,
    /// The operation of the one who has it, while it waits.
    current: Cell<Option<Token>>,
    /// Who waits for the turn, in order; nearly always nobody.
    line: RefCell<VecDeque<(u64, Waker)>>,
    tickets: Cell<u64>,
}

/// An open descriptor, its two directions, and what a multishot has delivered for it.
pub(crate) struct Handle<T> {
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

    pub(crate) fn deadline(&self, interest: Interest) -> Option<Instant> {
        self.direction(interest).deadline.get()
    }

    /// Moves the deadline of a direction; who waits there takes notice.
    pub(crate) fn set_deadline(&self, interest: Interest, at: Option<Instant>) {
        self.direction(interest).deadline.set(at);
        self.wake_waiting(interest);
    }

    /// Lets all who wait in a direction look again.
    fn wake_waiting(&self, interest: Interest) {
        let direction = self.direction(interest);
        let current = direction.current.get();
        let waker = current.and_then(|token| self.core.driver.borrow_mut().waker(token));
        let line = direction.line.borrow();
        let mut wakers: Vec<Waker> = line.iter().map(|(_, waker)| waker.clone()).collect();
        drop(line);
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
        let deadline = self.deadline(interest)?;
        (deadline <= clock::now()).then(timed_out)
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
    let first = direction.line.borrow().front().map(|(_, waker)| waker.clone());
    if let Some(waker) = first {
        waker.wake();
    }
}

/// A place in the line of a direction.
struct Place<'a> {
    direction: &'a Direction,
    ticket: Option<u64>,
}

impl Place<'_> {
    /// Takes the turn, if it is free and nobody came before.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut line = self.direction.line.borrow_mut();
        let first = line.front().map(|(ticket, _)| *ticket);
        if !self.direction.taken.get() && first == self.ticket {
            line.pop_front();
            self.ticket = None;
            self.direction.taken.set(true);
            return true;
        }
        match self.ticket {
            Some(ticket) => {
                let mine = line.iter_mut().find(|(other, _)| *other == ticket);
                mine.expect("a ticket stands in the line").1.clone_from(cx.waker());
            }
            None => {
                let ticket = self.direction.tickets.get();
                self.direction.tickets.set(ticket + 1);
                self.ticket = Some(ticket);
                line.push_back((ticket, cx.waker().clone()));
            }
        }
        false
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut line = self.direction.line.borrow_mut();
        let index = line.iter().position(|(other, _)| *other == ticket);
        let left = index.and_then(|index| line.remove(index));
        drop(line);
        drop(left);
        if !self.direction.taken.get() {
            // The turn may have been offered to the one who has just left.
            wake_first(self.direction);
        }
    }
}

/// Waits for the turn in a direction. Fails if the handle is closed or the deadline passes.
pub(crate) async fn turn<T: 'static>(
    handle: &Rc<Handle<T>>,
    interest: Interest,
) -> io::Result<Turn<T>> {
    let direction = handle.direction(interest);
    let mut alarm = Alarm::new(handle.core.clone());
    let mut place = Place { direction, ticket: None };
    poll_fn(|cx| {
        if let Some(error) = handle.refusal(interest) {
            return Poll::Ready(Err(error));
        }
        if place.poll(cx) {
            return Poll::Ready(Ok(Turn { handle: handle.clone(), interest }));
        }
        alarm.arm(direction.deadline.get(), cx);
        Poll::Pending
    })
    .await
}

/// Runs an operation that has the turn, until it is answered. If the handle is closed or the
/// deadline passes it is asked to end, and only if it then does not succeed that is the error.
pub(crate) async fn perform<T: 'static, O: Op>(
    handle: &Rc<Handle<T>>,
    interest: Interest,
    op: O,
) -> O::Output {
    let mut submission = Submission::new(handle.core.clone(), op);
    let mut alarm = Alarm::new(handle.core.clone());
    let mut stopped = None;
    poll_fn(|cx| {
        let rename = |error| stopped.take().unwrap_or(error);
        if let Poll::Ready(output) = submission.poll_with(cx, rename) {
            return Poll::Ready(output);
        }
        handle.direction(interest).current.set(submission.token());
        if stopped.is_none() {
            stopped = handle.refusal(interest);
            match stopped {
                Some(_) => submission.cancel(),
                None => alarm.arm(handle.deadline(interest), cx),
            }
        }
        Poll::Pending
    })
    .await
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
    let mut place = Place { direction, ticket: None };
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

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.core.driver.borrow_mut().close_detached(fd);
        }
    }
}
