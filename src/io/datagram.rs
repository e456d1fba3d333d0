//! Datagrams that come in: through a multishot receive where the ring has it, else one by one.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use super::inbound::{Bytes, Chunk};
use super::source::{self, Source, Ticket};
use super::turn::{perform, turn, Turn};
use crate::buf::{IoBuf, Lease, Pool};
use crate::driver::{Completion, Sink};
use crate::op::{split_datagram, Ancillary, Code, Interest, Outgoing, RecvDatagram, SendMany};
use crate::runtime::Core;

/// Datagrams, as the kernel writes them into buffers.
struct Datagrams;

impl Source for Datagrams {
    const MULTISHOT: Code = Code::RecvMsgMulti;
    const AHEAD_MAX: usize = 128;
    const PIECE: Option<Code> = None;

    fn pool(core: &Core) -> &Rc<Pool> {
        core.datagram_pool()
    }

    fn sink(handle: &Rc<Bytes>) -> Rc<dyn Sink> {
        Rc::new(Inbox(handle.clone()))
    }

    fn nothing() -> Lease {
        unreachable!("a datagram was received into no buffer")
    }
}

/// Where the multishot receive of a handle delivers to: the handle itself takes bytes of a stream.
struct Inbox(Rc<Bytes>);

impl Sink for Inbox {
    fn waiter(&self) -> Option<*const ()> {
        self.0.feed.waiter()
    }

    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        source::deliver::<Datagrams>(&self.0, completion, last)
    }
}

/// A datagram out of the feed.
pub(super) fn taken(chunk: Chunk) -> (Lease, Ancillary) {
    match chunk {
        Chunk::Lease(raw) => split_datagram(raw),
        Chunk::Message(message) => (Lease::from_vec(message.bytes), message.ancillary),
    }
}

/// The next datagram, in a lease.
pub(crate) async fn recv(handle: &Rc<Bytes>) -> io::Result<(Lease, Ancillary)> {
    let turn = turn(handle, Interest::Readable).await?;
    recv_in_turn(turn).await.0
}

/// The next datagram, and those behind it that have been received already, up to `max` in all: each
/// goes to `take`. Whoever waits behind gets what comes after the first.
pub(crate) async fn recv_batch(
    handle: &Rc<Bytes>,
    max: usize,
    mut take: impl FnMut((Lease, Ancillary)),
) -> io::Result<usize> {
    let turn = turn(handle, Interest::Readable).await?;
    let (first, _turn) = recv_in_turn(turn).await;
    take(first?);
    let mut count = 1;
    // Errors are left for the next call.
    while count < max && !handle.direction(Interest::Readable).is_awaited() {
        let Some(chunk) = handle.feed.pop_good() else { break };
        take(taken(chunk));
        count += 1;
    }
    Ok(count)
}

/// What a receive yields: the datagram, and the turn back.
type InTurn = (io::Result<(Lease, Ancillary)>, Turn<Chunk>);

async fn recv_in_turn(turn: Turn<Chunk>) -> InTurn {
    let handle = turn.handle().clone();
    // The pool is made first: without a ring for it there is no multishot receive.
    let pool = handle.core.datagram_pool();
    let multishot = handle.core.driver.borrow().has_multishot_recvmsg();
    if !multishot && handle.feed.is_empty() {
        return recv_pooled(turn).await;
    }
    let mut ticket = Ticket::<Datagrams>::new(&handle);
    let chunk = match poll_fn(|cx| ticket.poll_chunk(multishot, cx)).await {
        Ok(chunk) => chunk,
        Err(error) => return (Err(error), turn),
    };
    if pool.is_starving() {
        // Others wait for a buffer: stand in line behind them for the next one.
        handle.cancel_feed();
    }
    (Ok(taken(chunk.expect("the feed is armed or has something"))), turn)
}

/// A receive into a buffer of the core, where the kernel does not choose one itself.
async fn recv_pooled(mut turn: Turn<Chunk>) -> InTurn {
    let handle = turn.handle().clone();
    let pool = handle.core.datagram_pool();
    loop {
        let mut ticket = Ticket::<Datagrams>::new(&handle);
        if let Err(error) = poll_fn(|cx| ticket.poll_room(cx)).await {
            return (Err(error), turn);
        }
        drop(ticket);
        let op = RecvDatagram::new(turn, pool.clone());
        let (received, back) = perform(&handle, Interest::Readable, op).await;
        turn = back;
        if let Some(received) = received.transpose() {
            return (received, turn);
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
