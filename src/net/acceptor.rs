//! Accepting connections: what listeners of every family have in common. A listener accepts from its
//! own socket, or has a seat where one acceptor serves all cores.

use std::io;
use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use super::dispatch::Seat;
use super::handoff::{Carried, HandOver, Handoff};
use crate::handle::accept::{ListenSocket, Listening};
use crate::handle::{close, Handle, IoHandle};
use crate::op::Interest;
use crate::runtime::Core;
use crate::sys::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A socket that listens, with its seat if it has one.
pub(super) struct Acceptor {
    socket: ListenSocket,
    /// Where its connections come from, if one acceptor serves all cores.
    seat: Option<Seat>,
}

impl Acceptor {
    /// A socket that listens already and is non-blocking: see [`ListenSocket::new`].
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd) -> Acceptor {
        Acceptor { socket: ListenSocket::new(core, fd), seat: None }
    }

    /// One of several listeners that one acceptor serves.
    pub(super) fn seated(core: Rc<Core>, (seat, fd): (Seat, OwnedFd)) -> Acceptor {
        Acceptor { socket: ListenSocket::new(core, fd), seat: Some(seat) }
    }

    /// One that comes from another core, with what it had there.
    pub(super) fn carrying(self, carried: Carried<OwnedFd>) -> Acceptor {
        if carried.is_stopped() {
            self.socket.set_stopped();
        }
        carried.put(self.handle(), |accepted| accepted);
        self
    }

    /// Takes the listener off this core. What waits for it at its seat comes along; the others who
    /// have one go on.
    pub(super) async fn into_handoff<T>(self) -> io::Result<Handoff<T>>
    where
        T: HandOver<Unread = OwnedFd>,
    {
        if let (Some(seat), false) = (&self.seat, self.handle().is_closing()) {
            seat.leave(Some(&self.socket)).await?;
        }
        Handoff::take(self.socket.handle(), self.socket.is_stopped(), |accepted| accepted).await
    }

    pub(super) fn handle(&self) -> &Listening {
        self.socket.handle()
    }

    /// The next connection: see [`ListenSocket::accept`].
    pub(super) async fn accept(&self) -> io::Result<Rc<IoHandle>> {
        let socket = match &self.seat {
            None => self.socket.accept(None).await?,
            Some(seat) => {
                let poll_next = |cx: &mut Context<'_>| seat.poll_next(&self.socket, cx);
                self.socket.accept(Some(&poll_next)).await?
            }
        };
        Ok(Handle::new(self.handle().core.clone(), socket))
    }

    pub(super) fn set_accept_deadline(&self, at: Option<Instant>) {
        self.handle().set_deadline(Interest::Readable, at);
    }

    pub(super) fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.handle().with_fd(call)
    }

    /// Takes no more connections from the kernel; accepting goes on with those that are there.
    pub(super) async fn stop(&self) -> io::Result<()> {
        let Some(seat) = &self.seat else { return self.socket.stop().await };
        if let Some(stopping) = self.socket.begin_stop()? {
            seat.leave(Some(&self.socket)).await?;
            stopping.end_accepting().await;
        }
        Ok(())
    }

    pub(super) async fn close(&self) -> io::Result<()> {
        if let (Some(seat), false) = (&self.seat, self.handle().is_closing()) {
            seat.leave(None).await?;
        }
        close(self.socket.handle()).await
    }
}

impl AsRawFd for Acceptor {
    /// The number; -1 if it has been closed.
    fn as_raw_fd(&self) -> RawFd {
        self.handle().fd()
    }
}
