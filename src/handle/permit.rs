//! The permit to start an operation in one direction of a handle, and the operation of whoever has it.
//!
//! First come, first served. The permit goes with the operation: an operation whose future was dropped
//! keeps the permit until the kernel has answered.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::handle::Handle;
use super::submission::Submission;
use crate::op::{Interest, KeepsOpen, Op};
use crate::sync::Position;
use crate::sys::fd::RawFd;

/// The permit of one direction of a handle. Whoever has it may start an operation there. When it is
/// dropped the first in the wait queue may take it.
pub(crate) struct Permit<T: 'static> {
    handle: Rc<Handle<T>>,
    interest: Interest,
}

impl<T> Permit<T> {
    pub(crate) fn handle(&self) -> &Rc<Handle<T>> {
        &self.handle
    }
}

impl<T> KeepsOpen for Permit<T> {
    fn fd(&self) -> RawFd {
        // A permit is given out only while the descriptor is open. The descriptor is closed when what
        // is in flight in both directions has been answered, and with that the permits came back.
        debug_assert!(self.handle.fd() >= 0);
        self.handle.fd()
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        self.handle.direction(self.interest).give_back();
    }
}

/// Waits for the permit of a direction. Fails if the handle is closed or the deadline passes.
pub(crate) fn acquire<T: 'static>(handle: &Rc<Handle<T>>, interest: Interest) -> Acquire<'_, T> {
    Acquire { handle, interest, position: None }
}

/// The future of [`acquire`]. It is written out, like [`Perform`], since it is part of the state of
/// every task that waits for its connection, and this way it is smallest.
pub(crate) struct Acquire<'a, T: 'static> {
    handle: &'a Rc<Handle<T>>,
    interest: Interest,
    /// Where it stands in the wait queue, if it does.
    position: Option<Position>,
}

impl<'a, T> Acquire<'a, T> {
    pub(super) fn handle(&self) -> &'a Rc<Handle<T>> {
        self.handle
    }
}

impl<T> Future for Acquire<'_, T> {
    type Output = io::Result<Permit<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Acquire { handle, interest, position } = self.get_mut();
        handle.poll_until(*interest, cx, |cx| {
            // Nearly always nobody else is there.
            let direction = handle.direction(*interest);
            if direction.take_if_free() || direction.take_or_wait(position, cx.waker()) {
                return Poll::Ready(Ok(Permit { handle: handle.clone(), interest: *interest }));
            }
            Poll::Pending
        })
    }
}

impl<T> Drop for Acquire<'_, T> {
    fn drop(&mut self) {
        if let Some(position) = self.position {
            self.handle.direction(self.interest).leave(position);
            // The timer of the direction may know nobody but this one.
            self.handle.rearm(self.interest);
        }
    }
}

/// Runs an operation that has the permit, until it is answered. If the handle is closed or the
/// deadline passes the operation is asked to end. That is its error only if it does not succeed all
/// the same: so this is not `poll_until`, which would not wait for the answer.
pub(crate) fn perform<T: 'static, O: Op>(
    handle: &Rc<Handle<T>>,
    interest: Interest,
    op: O,
) -> Perform<'_, T, O> {
    debug_assert_eq!(op.interest(), interest, "an operation has the permit of another direction");
    Perform { submission: Submission::new(handle, op) }
}

/// The future of [`perform`].
pub(crate) struct Perform<'a, T: 'static, O: Op> {
    submission: Submission<O, &'a Rc<Handle<T>>>,
}

impl<'a, T, O: Op> Perform<'a, T, O> {
    pub(super) fn handle(&self) -> &'a Rc<Handle<T>> {
        self.submission.place()
    }
}

impl<T, O: Op> Future for Perform<'_, T, O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let handle = self.handle();
        let Perform { submission } = self.get_mut();
        let interest = submission.interest();
        let refusal = || handle.refusal_to_start(interest);
        if let Poll::Ready(output) = submission.poll_with(cx, refusal) {
            return Poll::Ready(output);
        }
        let (token, cancelled) = submission.in_flight();
        handle.direction(interest).set_current(token);
        if !cancelled {
            match refusal() {
                Some(refusal) => submission.cancel(refusal),
                None => handle.arm_deadline(interest, cx),
            }
        }
        Poll::Pending
    }
}
