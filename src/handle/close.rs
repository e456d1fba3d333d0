//! The end of a handle: closed for good, or let go of so that another core can take it.

use std::future::poll_fn;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;

use super::error::Closed;
use super::handle::Handle;
use super::submission::Submission;
use crate::completion::Token;
use crate::op::{self, Interest};
use crate::sys::fd::OwnedFd;

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
    handle.cancel_multishot();
    handle.wake_waiting(Interest::Readable);
    handle.wake_waiting(Interest::Writable);
    end_current(handle, Interest::Readable).await;
    end_current(handle, Interest::Writable).await;
    poll_fn(|cx| handle.queue.poll_disarmed(cx)).await;
    handle.queue.clear();
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
    handle.cancel_multishot();
    end_current(handle, Interest::Readable).await;
    end_current(handle, Interest::Writable).await;
    poll_fn(|cx| handle.queue.poll_disarmed(cx)).await;
    handle.core.driver.borrow_mut().release_descriptor(handle.fd());
    let fd = handle.fd.take().ok_or_else(Closed::error)?;
    Ok(Released { fd, items: std::iter::from_fn(|| handle.queue.pop()).collect() })
}

/// Ends what is under way for reading, multishot or not, and waits for its end: nothing more is
/// received from then on.
pub(crate) async fn end_reading<T: 'static>(handle: &Rc<Handle<T>>) {
    handle.read_over.set(true);
    handle.cancel_multishot();
    end_current(handle, Interest::Readable).await;
    if let Some(token) = handle.queue.armed() {
        // Not by the queue's waker, which belongs to whoever waits for its items.
        end_operation(handle, token).await;
    }
}

/// Ends the operation that is under way in a direction, and waits for its answer. The permit may
/// stay with a future that nobody polls: what counts is that the kernel is done.
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
