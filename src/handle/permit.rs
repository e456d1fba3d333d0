//! Whose turn it is in one direction of a handle, and the operation of the one whose turn it is.
//!
//! First come, first served. The turn goes with the operation: one whose future was dropped keeps it
//! until the kernel has answered.

use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::handle::Handle;
use super::submission::Submission;
use crate::op::{Interest, KeepsOpen, Op};
use crate::sync::Position;

/// The turn in one direction of a handle. Whoever has it may start an operation there; it goes to
/// the next in line when it is dropped.
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
        // A turn is had only while the descriptor is open, and closing takes both turns first.
        debug_assert!(self.handle.fd() >= 0);
        self.handle.fd()
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        self.handle.direction(self.interest).give_back();
    }
}

/// Waits for the turn in a direction. Fails if the handle is closed or the deadline passes.
pub(crate) fn permit<T: 'static>(handle: &Rc<Handle<T>>, interest: Interest) -> WaitPermit<'_, T> {
    WaitPermit { handle, interest, place: None }
}

/// The future of [`permit`]. It is written out, like [`Perform`], since it is part of the state of
/// every task that waits for its connection, and this way it is smallest.
pub(crate) struct WaitPermit<'a, T: 'static> {
    handle: &'a Rc<Handle<T>>,
    interest: Interest,
    /// A place in the line.
    place: Option<Position>,
}

impl<'a, T> WaitPermit<'a, T> {
    pub(super) fn handle(&self) -> &'a Rc<Handle<T>> {
        self.handle
    }
}

impl<T> Future for WaitPermit<'_, T> {
    type Output = io::Result<Permit<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WaitPermit { handle, interest, place } = self.get_mut();
        if let Some(refusal) = handle.refusal(*interest) {
            return Poll::Ready(Err(refusal.into()));
        }
        // Nearly always nobody else is there.
        let direction = handle.direction(*interest);
        if direction.take_if_free() || direction.take_or_wait(place, cx.waker()) {
            return Poll::Ready(Ok(Permit { handle: handle.clone(), interest: *interest }));
        }
        handle.arm_deadline(*interest, cx);
        Poll::Pending
    }
}

impl<T> Drop for WaitPermit<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.handle.direction(self.interest).leave(place);
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
        handle.direction(interest).set_current(submission.token());
        if !submission.is_cancelled() {
            match refusal() {
                Some(refusal) => submission.cancel(refusal),
                None => handle.arm_deadline(interest, cx),
            }
        }
        Poll::Pending
    }
}
