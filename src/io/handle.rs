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
//!                        │ everything in flight is answered
//!                        ▼
//!                     closed: the number is given back to the kernel
//! ```

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::direction::{Deadline, Direction};
use super::error::{Closed, Refusal};
use super::feed::Feed;
use super::submission::{OnCore, Submission};
use crate::driver::Token;
use crate::op::{self, Interest};
use crate::runtime::Core;
use crate::sys::SharedFd;
use crate::time::clock;

/// An open descriptor, its two directions, and what a multishot has delivered for it.
pub(crate) struct Handle<T: 'static> {
    pub(crate) core: Rc<Core>,
    fd: SharedFd,
    nonblocking: bool,
    users: Cell<u32>,
    closing: Cell<bool>,
    /// Nothing more is to be read.
    read_over: Cell<bool>,
    /// More comes than is taken: what is received next is asked for piece by piece.
    pub(super) piecewise: Cell<bool>,
    read: Direction,
    write: Direction,
    /// What a multishot operation has delivered.
    pub(crate) feed: Feed<T>,
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
            self.cancel_feed();
        }
    }

    pub(crate) fn cancel_feed(&self) {
        if let Some(token) = self.feed.armed() {
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

    /// Lets the deadline of a direction wake the task, which has found that it must wait there.
    pub(crate) fn arm_deadline(&self, interest: Interest, cx: &mut Context<'_>) {
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
            wakers.extend(self.feed.take_waker());
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

/// Closes the descriptor: ends everything in flight, and returns when the number is free. If the
/// future is dropped before, a task of its own goes on with it.
pub(crate) async fn close<T: 'static>(handle: &Rc<Handle<T>>) -> io::Result<()> {
    if handle.closing.replace(true) {
        return Err(Closed::error());
    }
    let mut unfinished = Unfinished(Some(handle.clone()));
    let closed = finish_close(handle).await;
    unfinished.0 = None;
    closed
}

/// A handle that is to be closed still.
struct Unfinished<T: 'static>(Option<Rc<Handle<T>>>);

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let core = handle.core.clone();
            // After the end of the runtime nothing is in flight: the handle closes as it goes.
            if core.shared.is_current() {
                drop(core.spawn(async move { finish_close(&handle).await }, Location::caller()));
            }
        }
    }
}

async fn finish_close<T: 'static>(handle: &Rc<Handle<T>>) -> io::Result<()> {
    handle.cancel_feed();
    handle.wake_waiting(Interest::Readable);
    handle.wake_waiting(Interest::Writable);
    end_current(handle, Interest::Readable).await;
    end_current(handle, Interest::Writable).await;
    poll_fn(|cx| handle.feed.poll_disarmed(cx)).await;
    handle.feed.clear();
    handle.core.driver.borrow_mut().forget_descriptor(handle.fd());
    let Some(fd) = handle.fd.take() else { return Ok(()) };
    Submission::new(handle.core.clone(), op::Close::new(fd)).await
}

/// A descriptor that its core has let go of, open, with what had been received for it.
pub(crate) struct Released<T> {
    pub(crate) fd: OwnedFd,
    pub(crate) items: Vec<io::Result<T>>,
}

/// Ends everything in flight and takes the descriptor off the core without closing it. The caller
/// is its only user and does not wait for it; what may be in flight was left there by futures that
/// have been dropped. Dropping this future leaves a handle that closes as it goes.
pub(crate) async fn release<T: 'static>(handle: &Rc<Handle<T>>) -> io::Result<Released<T>> {
    assert_eq!(handle.users.get(), 1, "a shared descriptor is taken off its core");
    if handle.closing.replace(true) {
        return Err(Closed::error());
    }
    handle.cancel_feed();
    end_current(handle, Interest::Readable).await;
    end_current(handle, Interest::Writable).await;
    poll_fn(|cx| handle.feed.poll_disarmed(cx)).await;
    handle.core.driver.borrow_mut().release_descriptor(handle.fd());
    let fd = handle.fd.take().ok_or_else(Closed::error)?;
    Ok(Released { fd, items: std::iter::from_fn(|| handle.feed.pop()).collect() })
}

/// Ends what is under way for reading, multishot or not, and waits for its end: nothing more is
/// received from then on.
pub(crate) async fn end_reading<T: 'static>(handle: &Rc<Handle<T>>) {
    handle.read_over.set(true);
    handle.cancel_feed();
    end_current(handle, Interest::Readable).await;
    if let Some(token) = handle.feed.armed() {
        // Not by the feed's waker, which belongs to whoever waits for its items.
        end_operation(handle, token).await;
    }
}

/// Ends the operation that is under way in a direction, and waits for its answer. The turn may stay
/// with a future that nobody polls: what counts is that the kernel is done.
async fn end_current<T: 'static>(handle: &Handle<T>, interest: Interest) {
    let Some(token) = handle.direction(interest).current() else { return };
    end_operation(handle, token).await;
}

async fn end_operation<T: 'static>(handle: &Handle<T>, token: Token) {
    handle.core.driver.borrow_mut().cancel(token);
    poll_fn(|cx| {
        let mut driver = handle.core.driver.borrow_mut();
        if !driver.slots.is_unanswered(token) {
            return Poll::Ready(());
        }
        driver.slots.watch(token, cx.waker());
        Poll::Pending
    })
    .await
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
