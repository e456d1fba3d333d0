//! Waiting for readiness, and closures that make their own system calls.

use std::io;
use std::rc::Rc;

use super::chunk::IoHandle;
use super::handle::Handle;
use super::permit::{acquire, perform};
use super::recv::stop_ahead;
use crate::op::{Interest, Poll};
use crate::sys;
use crate::sys::fd::{AsRawFd, BorrowedFd};

/// Waits until the descriptor is ready in this direction.
pub(crate) async fn ready(handle: &Rc<IoHandle>, interest: Interest) -> io::Result<()> {
    let permit = acquire(handle, interest).await?;
    if interest == Interest::Readable && !handle.queue.is_empty() {
        return Ok(());
    }
    if interest == Interest::Readable && handle.queue.armed().is_some() {
        // A receive is under way, and would take what comes. If it has taken some, that is there.
        if stop_ahead(handle).await.is_err() && !handle.queue.is_empty() {
            return Ok(());
        }
    }
    perform(handle, interest, Poll::new(permit, interest)).await.map(drop)
}

/// Calls `attempt` until it does not say `WouldBlock`, waiting for readiness in between.
pub(crate) async fn with<R>(
    handle: &Rc<IoHandle>,
    interest: Interest,
    mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
) -> io::Result<R> {
    let mut mine = acquire(handle, interest).await?;
    if interest == Interest::Readable {
        stop_ahead(handle).await?;
    }
    loop {
        let result = attempt_once(handle, &mut attempt);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                mine = perform(handle, interest, Poll::new(mine, interest)).await?;
            }
            done => return done,
        }
    }
}

fn attempt_once<T: 'static, R>(
    handle: &Handle<T>,
    attempt: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
) -> io::Result<R> {
    handle
        .with_fd(|fd| sys::non_blocking(fd.as_raw_fd(), handle.is_nonblocking(), || attempt(fd)))?
}
