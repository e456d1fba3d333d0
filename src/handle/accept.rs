//! Accepting connections on a socket that listens: through a multishot accept where the ring has it,
//! else one by one.
//!
//! What the kernel has accepted waits in the handle's receive queue until somebody asks for it: so a
//! connection that comes for an accept whose future was dropped goes to the next one.
//!
//! ```text
//!   open ──begin_stop()──▶ gathering ──guard dropped──▶ over
//!   takes from the kernel    the rest is gathered         what is in the queue is all there is
//! ```

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::close::end_reading;
use super::error::Closed;
use super::handle::Handle;
use super::permit::{acquire, perform, Permit};
use crate::completion::{Completion, Sink};
use crate::op::{accepted, Accept, Code, Interest, Keeps};
use crate::runtime::Core;
use crate::sys;
use crate::sys::errno;
use crate::sys::fd::OwnedFd;
use crate::time::sleep;

/// Connections that may wait in the kernel to be accepted.
pub(crate) const BACKLOG: u32 = 1024;

/// Connections that a multishot accept may take ahead of the caller, before it is stopped.
const AHEAD_MAX: usize = 128;

/// How long a listener waits for descriptors to come free before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// A handle whose receive queue holds accepted connections.
pub(crate) type Listening = Handle<OwnedFd>;

/// Asks for a connection that somebody else has accepted for this socket.
pub(crate) type PollDispatched<'a> = &'a dyn Fn(&mut Context<'_>) -> Poll<io::Result<OwnedFd>>;

/// A socket that listens.
pub(crate) struct ListenSocket {
    handle: Rc<Listening>,
    /// It has been said that descriptors have run out, and they still have.
    complained: Cell<bool>,
    intake: Cell<Intake>,
}

/// Whether it takes connections from the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// Not any more, but what the kernel has ready is still being gathered.
    Gathering,
    Over,
}

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
                Some(errno::ECANCELED | errno::EINTR) => {}
                _ => queue.push(Err(error)),
            },
        }
        if queue.has(AHEAD_MAX) {
            self.cancel_multishot();
        }
        queue.take_waker()
    }
}

impl Keeps<OwnedFd> for Permit<OwnedFd> {
    fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle().queue.push(accepted);
    }
}

impl ListenSocket {
    /// A socket that listens already and is non-blocking, on every backend: its mode is that of all
    /// processes that share it, and whatever backend they have, none may wait in accept(2).
    pub(crate) fn new(core: Rc<Core>, fd: OwnedFd) -> ListenSocket {
        ListenSocket {
            handle: Handle::new(core, fd),
            complained: Cell::new(false),
            intake: Cell::new(Intake::Open),
        }
    }

    pub(crate) fn handle(&self) -> &Rc<Listening> {
        &self.handle
    }

    /// The next connection. Those that were given up before they were accepted are passed over;
    /// when descriptors run out, connections wait. With `dispatched` this socket accepts nothing by
    /// itself, and `dispatched` is asked instead.
    pub(crate) async fn accept(
        &self,
        dispatched: Option<PollDispatched<'_>>,
    ) -> io::Result<OwnedFd> {
        let mut multishot = self.handle.core.capabilities.takes(Code::AcceptMulti);
        loop {
            match self.accept_one(multishot, dispatched).await {
                Ok(socket) => {
                    self.complained.set(false);
                    return Ok(socket);
                }
                Err(error) => match error.raw_os_error() {
                    Some(errno) if is_aborted(errno) => {}
                    // The first kernels that have it (5.19) do not wait for a listener that is
                    // non-blocking. A single accept is told the same, and then polls.
                    Some(errno::EAGAIN) => multishot = false,
                    Some(errno) if is_exhausted(errno) => {
                        self.complain(&error);
                        self.pause().await?;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    async fn accept_one(
        &self,
        multishot: bool,
        dispatched: Option<PollDispatched<'_>>,
    ) -> io::Result<OwnedFd> {
        let permit = acquire(&self.handle, Interest::Readable).await?;
        let queued = !self.handle.queue.is_empty();
        if multishot || dispatched.is_some() || self.is_stopped() || queued {
            return self.next_accepted(dispatched).await;
        }
        let accepted = perform(&self.handle, Interest::Readable, Accept::new(permit)).await;
        if accepted.is_err() && self.is_stopped() {
            let _permit = acquire(&self.handle, Interest::Readable).await?;
            return self.next_accepted(dispatched).await;
        }
        accepted
    }

    /// The next connection of the receive queue. The multishot accept is started if it is not under
    /// way and nobody else accepts.
    async fn next_accepted(&self, dispatched: Option<PollDispatched<'_>>) -> io::Result<OwnedFd> {
        let queue = &self.handle.queue;
        let look = |cx: &mut Context<'_>| {
            if let Some(accepted) = queue.pop() {
                return Poll::Ready(accepted);
            }
            match (self.intake.get(), dispatched) {
                (Intake::Over, _) => return Poll::Ready(Err(Closed::error())),
                (Intake::Open, Some(poll_next)) => {
                    if let Poll::Ready(accepted) = poll_next(cx) {
                        return Poll::Ready(accepted);
                    }
                }
                (Intake::Open, None) if queue.armed().is_none() => self.arm()?,
                (Intake::Open, None) | (Intake::Gathering, _) => {}
            }
            queue.set_waker(cx);
            Poll::Pending
        };
        poll_fn(|cx| self.handle.poll_until(Interest::Readable, cx, look)).await
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
        poll_fn(|cx| {
            self.handle.poll_until(Interest::Readable, cx, |cx| {
                // Close and new deadlines wake whoever the queue knows.
                self.handle.queue.set_waker(cx);
                over.as_mut().poll(cx).map(Ok)
            })
        })
        .await
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.intake.get() != Intake::Open
    }

    /// It has been stopped on another core.
    pub(crate) fn set_stopped(&self) {
        self.intake.set(Intake::Over);
    }

    /// Takes no more connections from the kernel; accepting goes on with those that are there.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        if let Some(stopping) = self.begin_stop()? {
            stopping.end_accepting().await;
            stopping.empty_backlog();
        }
        Ok(())
    }

    /// The same, step by step; `None` if it has been stopped before. Fails if it is closed.
    pub(crate) fn begin_stop(&self) -> io::Result<Option<Stopping<'_>>> {
        if self.handle.is_closing() {
            return Err(Closed::error());
        }
        if self.is_stopped() {
            return Ok(None);
        }
        self.intake.set(Intake::Gathering);
        Ok(Some(Stopping(self)))
    }

    /// Keeps what was accepted for the next who asks.
    pub(crate) fn keep(&self, accepted: io::Result<OwnedFd>) {
        self.handle.queue.push(accepted);
    }

    /// What has been accepted and given to nobody.
    pub(crate) fn take_accepted(&self) -> impl Iterator<Item = io::Result<OwnedFd>> + '_ {
        std::iter::from_fn(|| self.handle.queue.pop())
    }
}

impl Drop for ListenSocket {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}

/// A socket that takes no more connections. When this goes, what has been gathered is all there is.
pub(crate) struct Stopping<'a>(&'a ListenSocket);

impl Stopping<'_> {
    /// Ends what is under way for accepting.
    pub(crate) async fn end_accepting(&self) {
        end_reading(&self.0.handle).await;
    }

    /// Takes what waits in the kernel's queue, as far as it is long. Also from a socket that others
    /// accept from: the kernel wakes one acceptor for each connection. If it was this one, just
    /// before it was stopped, nobody else would come for the connection until the next one.
    fn empty_backlog(&self) {
        for _ in 0..BACKLOG {
            match sys::accept(self.0.handle.fd()) {
                Ok(socket) => self.0.keep(Ok(socket)),
                Err(error) if error.raw_os_error().is_some_and(is_aborted) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody is left, or no descriptor.
                Err(_) => return,
            }
        }
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.intake.set(Intake::Over);
        self.0.handle.wake_waiting(Interest::Readable);
    }
}

/// A connection that went away while it waited to be accepted, or the network said no.
fn is_aborted(errno: i32) -> bool {
    matches!(
        errno,
        errno::ECONNABORTED
            | errno::EPROTO
            | errno::EPERM
            | errno::ENETDOWN
            | errno::ENETUNREACH
            | errno::EHOSTDOWN
            | errno::EHOSTUNREACH
            | errno::ENOPROTOOPT
    )
}

/// The machine has no room for another connection at the moment.
fn is_exhausted(errno: i32) -> bool {
    matches!(errno, errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM)
}
