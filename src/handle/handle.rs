//! The handle itself: the descriptor, its two directions, and what was received ahead.
//!
//! Of a direction it is known who has its permit, who waits for the permit, and until when. There are two
//! of these for each connection, so it is kept small: what most connections never have is apart, and takes
//! one word.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::error::{Closed, Refusal};
use super::recv_queue::RecvQueue;
use super::submission::OnCore;
use crate::completion::Token;
use crate::op::Interest;
use crate::runtime::Core;
use crate::sync::{Position, WaitQueue};
use crate::sys::fd::{BorrowedFd, OwnedFd, RawFd};
use crate::sys::SharedFd;
use crate::timer::{clock, TimerKey};

/// An open descriptor, its two directions, and what a multishot has delivered for it.
pub(crate) struct Handle<T: 'static> {
    pub(crate) core: Rc<Core>,
    pub(super) fd: SharedFd,
    nonblocking: bool,
    pub(super) users: Cell<u32>,
    pub(super) closing: Cell<bool>,
    /// Nothing more is to be read.
    pub(super) read_over: Cell<bool>,
    /// More comes than is taken: what is received next is asked for piece by piece.
    pub(super) piecewise: Cell<bool>,
    read: Direction,
    write: Direction,
    /// What a multishot operation has delivered.
    pub(crate) queue: RecvQueue<T>,
}

impl<T: 'static> OnCore for &Rc<Handle<T>> {
    fn core(&self) -> &Rc<Core> {
        &self.core
    }
}

impl<T: 'static> Handle<T> {
    /// Takes a descriptor over that is non-blocking, as all sockets are. The caller is its first user.
    pub(crate) fn new(core: Rc<Core>, fd: OwnedFd) -> Rc<Handle<T>> {
        Handle::in_mode(core, fd, true)
    }

    /// The same for one that is non-blocking or not.
    pub(crate) fn in_mode(core: Rc<Core>, fd: OwnedFd, nonblocking: bool) -> Rc<Handle<T>> {
        Rc::new(Handle {
            core,
            fd: SharedFd::new(fd),
            nonblocking,
            users: Cell::new(1),
            closing: Cell::new(false),
            read_over: Cell::new(false),
            piecewise: Cell::new(false),
            read: Direction::default(),
            write: Direction::default(),
            queue: RecvQueue::new(),
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
        if self.closing.get() {
            return Err(Closed::error());
        }
        self.fd.with(call).ok_or_else(Closed::error)
    }

    /// Takes the descriptor out of a handle that nothing is under way on; it is closed then.
    pub(crate) fn take_fd(&self) -> io::Result<OwnedFd> {
        debug_assert!(!self.read.is_taken() && !self.write.is_taken());
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
            self.cancel_multishot();
        }
    }

    pub(crate) fn cancel_multishot(&self) {
        if let Some(token) = self.queue.armed() {
            self.core.driver.borrow_mut().cancel(token);
        }
    }

    pub(super) fn direction(&self, interest: Interest) -> &Direction {
        match interest {
            Interest::Readable => &self.read,
            Interest::Writable => &self.write,
        }
    }

    pub(crate) fn deadline(&self, interest: Interest) -> Option<Instant> {
        self.direction(interest).deadline()?.at.get()
    }

    /// Moves the deadline of a direction; who waits there takes notice.
    pub(crate) fn set_deadline(&self, interest: Interest, at: Option<Instant>) {
        let direction = self.direction(interest);
        direction.set_deadline(at);
        if at.is_none() {
            self.disarm_deadline(direction);
        }
        self.wake_waiting(interest);
    }

    /// The one way to wait in a direction: fails if the handle is closed or the deadline has passed,
    /// else does what `look` says. `look` notes whom to wake if there is nothing; the deadline is
    /// then armed to wake the task too.
    #[inline]
    pub(crate) fn poll_until<R>(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Some(refusal) = self.refusal(interest) {
            return Poll::Ready(Err(refusal.into()));
        }
        let looked = look(cx);
        if looked.is_pending() {
            self.arm_deadline(interest, cx);
        }
        looked
    }

    /// Lets the deadline of a direction wake the task, which has found that it must wait there.
    pub(super) fn arm_deadline(&self, interest: Interest, cx: &mut Context<'_>) {
        if let Some(deadline) = self.direction(interest).deadline() {
            self.arm_timer(deadline, cx);
        }
    }

    #[cold]
    fn arm_timer(&self, deadline: &Deadline, cx: &mut Context<'_>) {
        let Some(at) = deadline.at.get() else { return };
        let mut timers = self.core.timers.borrow_mut();
        let old = match deadline.timer.get() {
            Some((key, due)) if due <= at && timers.is_pending(key) => {
                timers.set_waker(key, cx.waker())
            }
            other => {
                let ahead = clock::ahead(at).unwrap_or_default();
                let key = timers.insert(at, ahead, cx.waker().clone());
                deadline.timer.set(Some((key, at)));
                other.and_then(|(key, _)| timers.remove(key))
            }
        };
        drop(timers);
        // Dropped only now: a waker may run code of its own.
        drop(old);
    }

    /// One of those who wait has gone: lets the others see to the timer themselves.
    #[cold]
    pub(super) fn rearm(&self, interest: Interest) {
        let deadline = self.direction(interest).deadline();
        if deadline.is_some_and(|deadline| deadline.timer.get().is_some()) {
            self.wake_waiting(interest);
        }
    }

    /// True if there was a timer.
    fn disarm_deadline(&self, direction: &Direction) -> bool {
        let timer = direction.deadline().and_then(|deadline| deadline.timer.take());
        let Some((key, _)) = timer else { return false };
        let waker = self.core.timers.borrow_mut().remove(key);
        drop(waker);
        true
    }

    /// Lets all who wait in a direction look again.
    pub(crate) fn wake_waiting(&self, interest: Interest) {
        let direction = self.direction(interest);
        let current = direction.current();
        let waker = current.and_then(|token| self.core.driver.borrow_mut().waker(token));
        let mut wakers: Vec<Waker> = direction.wakers();
        wakers.extend(waker);
        if interest == Interest::Readable {
            wakers.extend(self.queue.take_waker());
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why nobody may begin or go on in a direction, if there is a reason.
    pub(crate) fn refusal(&self, interest: Interest) -> Option<Refusal> {
        if self.closing.get() {
            return Some(Refusal::Closed);
        }
        let deadline = self.direction(interest).deadline()?.at.get()?;
        self.is_over(interest, deadline)
    }

    /// Why no operation may be started, or go on, in a direction, if there is a reason.
    pub(super) fn refusal_to_start(&self, interest: Interest) -> Option<Refusal> {
        if self.read_over.get() && interest == Interest::Readable {
            return Some(Refusal::Closed);
        }
        self.refusal(interest)
    }

    #[cold]
    fn is_over(&self, interest: Interest, deadline: Instant) -> Option<Refusal> {
        if !clock::has_come(deadline) {
            return None;
        }
        let direction = self.direction(interest);
        // The timer has woken one of those who wait: it tells the others.
        if self.disarm_deadline(direction) {
            self.wake_waiting(interest);
        }
        Some(Refusal::TimedOut)
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
struct Deadline {
    at: Cell<Option<Instant>>,
    /// What wakes who waits at the deadline, or before: the timer stays where it is when the
    /// deadline is moved later, so that moving it with every operation costs nothing.
    timer: Cell<Option<(TimerKey, Instant)>>,
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
    fn deadline(&self) -> Option<&Deadline> {
        self.rest.get().map(|rest| &rest.deadline)
    }

    /// Moves the deadline. Its timer stays.
    fn set_deadline(&self, at: Option<Instant>) {
        if at.is_some() || self.rest.get().is_some() {
            self.rest.get_or_init(Box::default).deadline.at.set(at);
        }
    }
}
