//! Datagrams that come in: through a multishot receive where the ring has it, else one by one.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::inbound::{says_nothing, Bytes, Chunk};
use super::turn::{perform, turn, Turn};
use crate::buf::{IoBuf, Lease};
use crate::driver::{Completion, Sink};
use crate::op::{split_datagram, Ancillary, Code, Interest, Outgoing, RecvDatagram, SendMany};

/// Datagrams that a multishot may deliver ahead of the reader, before it is stopped.
const AHEAD_MAX: usize = 128;

/// Where the multishot receive of a handle delivers to.
struct Inbox(Rc<Bytes>);

impl Sink for Inbox {
    fn waiter(&self) -> Option<*const ()> {
        self.0.feed.waiter()
    }

    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        let Inbox(handle) = self;
        let feed = &handle.feed;
        if last {
            feed.set_disarmed();
        }
        let pool = handle.core.datagram_pool();
        let count = completion.result.max(0) as u32;
        let lease = completion.buffer().map(|it| pool.filled_by_kernel(it.id, count, it.more));
        let waker = feed.take_waker();
        match (-completion.result, lease) {
            // Nobody is there to take it, and buffers are scarce: it shall not keep one.
            (..=0, Some(lease)) if waker.is_none() && pool.is_scarce() => {
                feed.push(Ok(Chunk::Datagram(Lease::from_vec(lease.to_vec()))));
            }
            (..=0, Some(lease)) => feed.push(Ok(Chunk::Datagram(lease))),
            (..=0, None) => unreachable!("a datagram was received into no buffer"),
            // The reader arms anew, or finds that it must wait for a buffer.
            (libc::ENOBUFS, _) => {
                pool.grow();
            }
            (errno, _) if says_nothing(errno) => {}
            (errno, _) => feed.push(Err(io::Error::from_raw_os_error(errno))),
        }
        if feed.len() >= AHEAD_MAX {
            handle.cancel_feed();
        }
        waker
    }
}

/// A place in the line for a buffer.
struct Ticket<'a> {
    handle: &'a Rc<Bytes>,
    ticket: Option<u64>,
}

impl<'a> Ticket<'a> {
    fn new(handle: &'a Rc<Bytes>) -> Ticket<'a> {
        Ticket { handle, ticket: None }
    }

    /// Starts the multishot receive if there may be a buffer for it; else waits for one.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let handle = self.handle;
        if !self.may_try(cx) {
            return;
        }
        handle.core.datagram_pool().leave(&mut self.ticket);
        let mut driver = handle.core.driver.borrow_mut();
        if driver.pretends_no_buffer() {
            cx.waker().wake_by_ref();
            return;
        }
        let inbox: Rc<dyn Sink> = Rc::new(Inbox(handle.clone()));
        match driver.start_stream(Code::RecvMsgMulti, handle.fd(), inbox) {
            Some(token) => handle.feed.set_armed(token),
            // The runtime has ended.
            None => handle.feed.push(Err(super::closed())),
        }
    }

    /// Whether it may try for a buffer now; else the task is woken when it may.
    fn may_try(&mut self, cx: &mut Context<'_>) -> bool {
        let pool = self.handle.core.datagram_pool();
        if pool.has_room() && pool.admits(self.ticket) {
            return true;
        }
        pool.wait(&mut self.ticket, cx.waker());
        false
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.handle.core.datagram_pool().leave(&mut self.ticket);
    }
}

/// A datagram out of the feed.
pub(super) fn taken(chunk: Chunk) -> (Lease, Ancillary) {
    match chunk {
        Chunk::Datagram(raw) => split_datagram(raw),
        Chunk::Message(message) => (Lease::from_vec(message.bytes), message.ancillary),
        Chunk::Lease(_) | Chunk::Copied(_) => unreachable!("bytes of a stream"),
    }
}

/// The next datagram, in a lease.
pub(crate) async fn recv(handle: &Rc<Bytes>) -> io::Result<(Lease, Ancillary)> {
    let turn = turn(handle, Interest::Readable).await?;
    // The pool is made first: without a ring for it there is no multishot receive.
    let pool = handle.core.datagram_pool();
    let multishot = handle.core.driver.borrow().has_multishot_recvmsg();
    if !multishot && handle.feed.is_empty() {
        return recv_pooled(turn).await;
    }
    let mut ticket = Ticket::new(handle);
    let chunk = poll_fn(|cx| {
        if let Some(error) = handle.refusal(Interest::Readable) {
            return Poll::Ready(Err(error));
        }
        if let Some(item) = handle.feed.pop() {
            return Poll::Ready(item);
        }
        if handle.feed.armed().is_none() {
            ticket.arm(cx);
            if let Some(item) = handle.feed.pop() {
                return Poll::Ready(item);
            }
        }
        handle.feed.set_waker(cx);
        handle.arm_deadline(Interest::Readable, cx);
        Poll::Pending
    })
    .await?;
    if pool.is_starving() {
        // Others wait for a buffer: stand in line behind them for the next one.
        handle.cancel_feed();
    }
    Ok(taken(chunk))
}

/// A datagram that has been received already, if there is one. Errors are left for `recv`.
pub(crate) fn received(handle: &Rc<Bytes>) -> Option<(Lease, Ancillary)> {
    // Whoever has the turn comes first.
    match handle.line(Interest::Readable).is_taken() {
        true => None,
        false => handle.feed.pop_good().map(taken),
    }
}

/// A receive into a buffer of the core, where the kernel does not choose one itself.
async fn recv_pooled(turn: Turn<Chunk>) -> io::Result<(Lease, Ancillary)> {
    let handle = turn.handle().clone();
    let pool = handle.core.datagram_pool();
    let mut turn = turn;
    loop {
        let mut ticket = Ticket::new(&handle);
        poll_fn(|cx| {
            if let Some(error) = handle.refusal(Interest::Readable) {
                return Poll::Ready(Err(error));
            }
            if ticket.may_try(cx) {
                return Poll::Ready(Ok(()));
            }
            handle.arm_deadline(Interest::Readable, cx);
            Poll::Pending
        })
        .await?;
        drop(ticket);
        let op = RecvDatagram::new(turn, pool.clone());
        let (received, back) = perform(&handle, Interest::Readable, op).await;
        turn = back;
        if let Some(received) = received? {
            return Ok(received);
        }
    }
}

/// Sends datagrams, in order, and waits for room until all are out: how many went. An error is
/// that of the first one; later ones are for the next call to find.
pub(crate) async fn send_many<B: IoBuf>(
    handle: &Rc<Bytes>,
    mut datagrams: Vec<Outgoing<B>>,
) -> (io::Result<usize>, Vec<Outgoing<B>>) {
    let mut turn = match turn(handle, Interest::Writable).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), datagrams),
    };
    let mut sent = 0;
    while sent < datagrams.len() {
        let op = SendMany::new(turn, datagrams, sent);
        let result;
        (result, datagrams, turn) = perform(handle, Interest::Writable, op).await;
        match result {
            Ok(count) => sent += count,
            Err(_) if sent > 0 => break,
            Err(error) => return (Err(error), datagrams),
        }
    }
    (Ok(sent), datagrams)
}
