//! Accepting connections: what listeners of every family have in common.

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::driver::{Completion, Sink};
use crate::io::handle::{close, Handle};
use crate::io::inbound::Bytes;
use crate::io::turn::{perform, turn, Turn};
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
}

/// A handle whose feed holds accepted connections.
pub(super) type Listening = Handle<OwnedFd>;

impl Sink for Listening {
    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        let feed = &self.feed;
        if last {
            feed.set_disarmed();
        }
        match accepted(completion) {
            Ok(socket) => feed.push(Ok(socket)),
            Err(error) => match error.raw_os_error() {
                // Whoever waits starts it anew.
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => feed.push(Err(error)),
            },
        }
        if feed.len() >= AHEAD_MAX {
            self.cancel_feed();
        }
        feed.take_waker()
    }
}

impl Backlog for Turn<OwnedFd> {
    fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle().feed.push(accepted);
    }
}

impl Acceptor {
    /// A socket that listens already, in the mode that the backend wants.
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd, nonblocking: bool) -> Acceptor {
        Acceptor { handle: Handle::new(core, fd, nonblocking), complained: Cell::new(false) }
    }

    /// Takes a socket over that listens, and sets the mode that the backend wants.
    pub(super) fn take_over(fd: OwnedFd) -> io::Result<Acceptor> {
        let core = Core::current();
        let nonblocking = core.driver.borrow().wants_nonblocking();
        sys::set_nonblocking(fd.as_raw_fd(), nonblocking)?;
        Ok(Acceptor::new(core, fd, nonblocking))
    }

    pub(super) fn handle(&self) -> &Listening {
        &self.handle
    }

    /// The next connection. Those that were given up before they were accepted are passed over;
    /// when descriptors run out, connections wait.
    pub(super) async fn accept(&self) -> io::Result<Rc<Bytes>> {
        loop {
            match self.accept_one().await {
                Ok(socket) => {
                    self.complained.set(false);
                    let core = self.handle.core.clone();
                    return Ok(Handle::new(core, socket, self.handle.is_nonblocking()));
                }
                Err(error) => match error.raw_os_error() {
                    Some(errno) if is_aborted(errno) => {}
                    Some(errno) if is_exhausted(errno) => {
                        self.complain(&error);
                        self.pause().await?;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    async fn accept_one(&self) -> io::Result<OwnedFd> {
        let turn = turn(&self.handle, Interest::Readable).await?;
        let multishot = self.handle.core.driver.borrow().has_multishot_accept();
        if multishot || !self.handle.feed.is_empty() {
            return self.next_accepted().await;
        }
        let op = Accept::new(turn, self.handle.is_nonblocking());
        perform(&self.handle, Interest::Readable, op).await
    }

    /// What the multishot accept has brought, which is started if it is not under way.
    async fn next_accepted(&self) -> io::Result<OwnedFd> {
        poll_fn(|cx| {
            if let Some(error) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(error));
            }
            let feed = &self.handle.feed;
            if let Some(accepted) = feed.pop() {
                return Poll::Ready(accepted);
            }
            if feed.armed().is_none() {
                self.arm()?;
            }
            feed.set_waker(cx);
            self.handle.arm_deadline(Interest::Readable, cx);
            Poll::Pending
        })
        .await
    }

    fn arm(&self) -> io::Result<()> {
        let sink: Rc<dyn Sink> = self.handle.clone();
        let mut driver = self.handle.core.driver.borrow_mut();
        let token = driver.start_stream(Code::AcceptMulti, self.handle.fd(), sink);
        self.handle.feed.set_armed(token.ok_or_else(crate::io::closed)?);
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
            if let Some(error) = self.handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(error));
            }
            // Close and new deadlines wake whoever the feed knows.
            self.handle.feed.set_waker(cx);
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

    pub(super) async fn close(&self) -> io::Result<()> {
        close(&self.handle).await
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
