//! Waiting for readiness, and closures that make their own system calls.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, ready, Context};

use super::chunk::{Chunk, IoHandle};
use super::handle::Handle;
use super::permit::{acquire, perform, Acquire, Perform, Permit};
use super::recv::{poll_ended, stop_ahead};
use crate::op::{Interest, Poll};
use crate::sys;
use crate::sys::fd::{AsRawFd, BorrowedFd};

/// Waits until the descriptor is ready in this direction.
pub(crate) fn ready(handle: &Rc<IoHandle>, interest: Interest) -> Readiness<'_> {
    Readiness { interest, stage: Waiting::Acquiring(acquire(handle, interest)) }
}

/// There is something to read, or room to write: the future of
/// [`TcpStream::readable`](crate::net::TcpStream::readable), of
/// [`writable`](crate::net::TcpStream::writable), and of those methods of whatever has a descriptor.
/// Dropping it changes nothing.
#[must_use = "futures do nothing unless awaited"]
pub struct Readiness<'a> {
    interest: Interest,
    stage: Waiting<'a>,
}

enum Waiting<'a> {
    /// Waits for the permit.
    Acquiring(Acquire<'a, Chunk>),
    /// Waits for the end of a multishot receive, which would take what comes.
    Stopping { handle: &'a Rc<IoHandle>, permit: Option<Permit<Chunk>> },
    /// Waits for the descriptor.
    Performing(Perform<'a, Chunk, Poll<Permit<Chunk>>>),
    /// Waits for nothing any more: the permit has been given back.
    Done,
}

impl Readiness<'_> {
    fn poll_stages(&mut self, cx: &mut Context<'_>) -> task::Poll<io::Result<()>> {
        let interest = self.interest;
        loop {
            self.stage = match &mut self.stage {
                Waiting::Acquiring(wait) => {
                    let handle = wait.handle();
                    let permit = ready!(Pin::new(wait).poll(cx))?;
                    let reads = interest == Interest::Readable;
                    if reads && !handle.queue.is_empty() {
                        return task::Poll::Ready(Ok(()));
                    }
                    if reads && handle.queue.armed().is_some() {
                        handle.cancel_multishot();
                        Waiting::Stopping { handle, permit: Some(permit) }
                    } else {
                        Waiting::Performing(perform(handle, interest, Poll::new(permit, interest)))
                    }
                }
                Waiting::Stopping { handle, permit } => {
                    // Whether it has ended well does not matter; if it has taken some, that is there.
                    let _ = ready!(poll_ended(handle, cx));
                    if !handle.queue.is_empty() {
                        return task::Poll::Ready(Ok(()));
                    }
                    let permit = permit.take().expect("who stops a receive has the permit");
                    Waiting::Performing(perform(handle, interest, Poll::new(permit, interest)))
                }
                Waiting::Performing(op) => {
                    return task::Poll::Ready(ready!(Pin::new(op).poll(cx)).map(drop));
                }
                Waiting::Done => panic!("a wait was polled after it was done"),
            };
        }
    }
}

impl Future for Readiness<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this.poll_stages(cx);
        if polled.is_ready() {
            // A future that is kept after its end must not keep the permit.
            this.stage = Waiting::Done;
        }
        polled
    }
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
