//! Accepting connections: what listeners of every family have in common.

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::listener::BACKLOG;
use super::Seat;
use crate::completion::{Completion, Sink};
use crate::handle::permit::{perform, permit, Permit};
use crate::handle::recv::IoHandle;
use crate::handle::{close, end_reading, Closed, Handle};
use crate::op::{accepted, Accept, Backlog, Code, Interest};
use crate::runtime::Core;
use crate::sys;
use crate::time::sleep;

/// Connections that a multishot accept may take ahead of the caller, before it is stopped.
const AHEAD_MAX: usize = 128;

/// How long a listener waits for descriptors to come free before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens.
pub(super) struct Acceptor {
    handle: Rc<Listening>,
    /// It has been said that descriptors have run out, and they still have.
    complained: Cell<bool>,
    stopped: Cell<Stopped>,
    /// Where its connections come from, if one acceptor serves all cores.
    seat: Option<Seat>,
}

/// Whether it takes connections from the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    No,
    /// Not any more, but what it has taken is still being gathered.
    Nearly,
    Yes,
}

/// A handle whose feed holds accepted connections.
pub(super) type Listening = Handle<OwnedFd>;

impl Sink for Listening {
    fn waiter(&self) -> Option<*const ()> {
        self.queue.waiter()
    }

    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        let queue = &self.queue;
        if last {
            queue.set_disarmed();
        }
        match accepted(completion) {
            Ok(socket) => queue.push(Ok(socket)),
            Err(error) => match error.raw_os_error() {
                // Whoever waits starts it anew.
                Some(libc::ECANCELED | libc::EINTR) => {}
                _ => queue.push(Err(error)),
            },
        }
        if queue.has(AHEAD_MAX) {
            self.cancel_multishot();
        }
        queue.take_waker()
    }
}

impl Backlog for Permit<OwnedFd> {
    fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle().queue.push(accepted);
    }
}

impl Acceptor {
    /// A socket that listens already and is non-blocking, on every backend: its mode is that of all
    /// processes that share it, and whatever backend they have, none may wait in accept(2).
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd) -> Acceptor {
        Acceptor {
            handle: Handle::new(core, fd),
            complained: Cell::new(false),
            stopped: Cell::new(Stopped::No),
            seat: None,
        }
    }

    /// One of several listeners that one acceptor serves.
    pub(super) fn seated(core: Rc<Core>, (seat, fd): (Seat, OwnedFd)) -> Acceptor {
        let mut acceptor = Acceptor::new(core, fd);
        acceptor.seat = Some(seat);
        acceptor
    }

    pub(super) fn handle(&self) -> &Listening {
        &self.handle
    }

    /// The next connection. Those that were given up before they were accepted are passed over;
    /// when descriptors run out, connections wait.
    pub(super) async fn accept(&self) -> io::Result<Rc<IoHandle>> {
        let socket = self.accept_socket().await?;
        Ok(Handle::new(self.handle.core.clone(), socket))
    }

    /// The same, for whatever core.
    pub(super) async fn accept_socket(&self) -> io::Result<OwnedFd> {
        let mut multishot = self.handle.core.capabilities.takes(Code::AcceptMulti);
        loop {
            match self.accept_one(multishot).await {
                Ok(socket) => {
                    self.complained.set(false);
                    return Ok(socket);
                }
                Err(error) => match error.raw_os_error() {
                    Some(errno) if is_aborted(errno) => {}
                    // The first kernels that have it (5.19) do not wait for a listener that is
                    // non-blocking. A single accept is told the same, and then polls.
                    Some(libc::EAGAIN) => multishot = false,
                    Some(errno) if is_exhausted(errno) => {
                        self.complain(&error);
                        self.pause().await?;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    async fn accept_one(&self, multishot: bool) -> io::Result<OwnedFd> {
        let permit = permit(&self.handle, Interest::Readable).await?;
        if multishot || self.seat.is_some() || self.is_stopped() || !self.handle.queue.is_empty() {
            return self.next_accepted().await;
        }
        let accepted = perform(&self.handle, Interest::Readable, Accept::new(permit)).await;
        if accepted.is_err() && self.is_stopped() {
            let _permit = self::permit(&self.handle, Interest::Readable).await?;
            return self.next_accepted().await;
        }
        accepted
    }

    /// What the multishot accept has brought, which is started if it is not under way.
    async fn next_accepted(&self) -> io::Result<OwnedFd> {
        poll_fn(|cx| {
            if let Some(refusal) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(refusal.into()));
            }
            let queue = &self.handle.queue;
            if let Some(accepted) = queue.pop() {
                return Poll::Ready(accepted);
            }
            match &self.seat {
                _ if self.stopped.get() == Stopped::Yes => {
                    return Poll::Ready(Err(Closed::error()));
                }
                _ if self.is_stopped() => {}
                Some(seat) => {
                    if let Poll::Ready(accepted) = seat.poll_next(self, cx) {
                        return Poll::Ready(accepted);
                    }
                }
                None if queue.armed().is_none() => self.arm()?,
                None => {}
            }
            queue.set_waker(cx);
            self.handle.arm_deadline(Interest::Readable, cx);
            Poll::Pending
        })
        .await
    }

    fn arm(&self) -> io::Result<()> {
        let sink: Rc<dyn Sink> = self.handle.clone();
        let mut driver = self.handle.core.driver.borrow_mut();
        let token = driver.start_stream(Code::AcceptMulti, self.handle.fd(), sink);
        self.handle.queue.set_armed(token?);
        Ok(())
    }

    fn complain(&self, error: &io::Error) {
        if !self.complained.replace(true) {
            tracing::warn!(
                target: "ringpark",
                %error,
                "connections wait, since none can be accepted: raise the limit of descriptors \
                 (ulimit -n)"
            );
        }
    }

    /// Waits a moment, unless the listener is closed or its deadline passes.
    async fn pause(&self) -> io::Result<()> {
        let mut over = pin!(sleep(PAUSE));
        poll_fn(|cx: &mut Context<'_>| {
            if let Some(refusal) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(refusal.into()));
            }
            // Close and new deadlines wake whoever the feed knows.
            self.handle.queue.set_waker(cx);
            self.handle.arm_deadline(Interest::Readable, cx);
            over.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    pub(super) fn set_accept_deadline(&self, at: Option<Instant>) {
        self.handle.set_deadline(Interest::Readable, at);
    }

    pub(super) fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle.with_fd(call)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.get() != Stopped::No
    }

    /// Takes no more connections from the kernel; accepting goes on with those that are there.
    pub(super) async fn stop(&self) -> io::Result<()> {
        if self.handle.is_closing() {
            return Err(Closed::error());
        }
        if self.is_stopped() {
            return Ok(());
        }
        self.stopped.set(Stopped::Nearly);
        let _at_the_end = Gathered(self);
        if let Some(seat) = &self.seat {
            seat.leave(Some(self)).await?;
        }
        end_reading(&self.handle).await;
        if self.seat.is_none() {
            self.empty_queue();
        }
        Ok(())
    }

    /// Takes what waits in the kernel's queue, as far as it is long. Also from a socket that others
    /// accept from: the kernel wakes one acceptor for each connection, and if it was this one, just
    /// before it was stopped, nobody else would come for it until the next connection.
    fn empty_queue(&self) {
        for _ in 0..BACKLOG {
            match sys::accept(self.handle.fd()) {
                Ok(socket) => self.keep(Ok(socket)),
                Err(error) if error.raw_os_error().is_some_and(is_aborted) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody is left, or no descriptor.
                Err(_) => return,
            }
        }
    }

    /// Keeps what was accepted for the next who asks.
    pub(super) fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle.queue.push(accepted);
    }

    /// What has been accepted and given to nobody.
    pub(super) fn taken(&self) -> impl Iterator<Item = io::Result<OwnedFd>> + '_ {
        std::iter::from_fn(|| self.handle.queue.pop())
    }

    pub(super) async fn close(&self) -> io::Result<()> {
        if let (Some(seat), false) = (&self.seat, self.handle.is_closing()) {
            seat.leave(None).await?;
        }
        close(&self.handle).await
    }
}

/// Says at its end that what a stopped acceptor has is all that it will have.
struct Gathered<'a>(&'a Acceptor);

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        self.0.stopped.set(Stopped::Yes);
        self.0.handle.wake_waiting(Interest::Readable);
    }
}

/// A connection that went away while it waited to be accepted, or the network said no.
fn is_aborted(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
    )
}

/// The machine has no room for another connection at the moment.
fn is_exhausted(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

impl AsRawFd for Acceptor {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle.fd()
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}
