//! Receiving datagrams: through a multishot receive where the ring has it, else one by one; and
//! sending many of them.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use super::chunk::{Chunk, IoHandle};
use super::permit::{acquire, perform, Permit};
use super::refill::{self, Refill, Source};
use crate::buf::{IoBuf, Lease, Pool};
use crate::completion::{Completion, Sink};
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

    fn sink(handle: &Rc<IoHandle>) -> Rc<dyn Sink> {
        Rc::new(Inbox(handle.clone()))
    }

    fn nothing() -> Lease {
        unreachable!("a datagram was received into no buffer")
    }
}

/// Where the multishot receive of a handle delivers to: the handle itself takes bytes of a stream.
struct Inbox(Rc<IoHandle>);

impl Sink for Inbox {
    fn waiter(&self) -> Option<*const ()> {
        self.0.queue.waiter()
    }

    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        refill::deliver::<Datagrams>(&self.0, completion, last)
    }
}

/// A datagram out of the receive queue.
pub(super) fn taken(chunk: Chunk) -> (Lease, Ancillary) {
    match chunk {
        Chunk::Lease(raw) => split_datagram(raw),
        Chunk::Message(message) => (Lease::from_vec(message.bytes), message.ancillary),
    }
}

/// The next datagram, in a lease.
pub(crate) async fn recv(handle: &Rc<IoHandle>) -> io::Result<(Lease, Ancillary)> {
    let permit = acquire(handle, Interest::Readable).await?;
    recv_with_permit(permit).await.0
}

/// The next datagram, and those behind it that have been received already, up to `max` in all: each
/// goes to `take`. If others wait for the permit, only the first is taken.
pub(crate) async fn recv_batch(
    handle: &Rc<IoHandle>,
    max: usize,
    mut take: impl FnMut((Lease, Ancillary)),
) -> io::Result<usize> {
    let permit = acquire(handle, Interest::Readable).await?;
    let (first, _permit) = recv_with_permit(permit).await;
    take(first?);
    let mut count = 1;
    // Errors are left for the next call.
    while count < max && !handle.direction(Interest::Readable).is_awaited() {
        let Some(chunk) = handle.queue.pop_good() else { break };
        take(taken(chunk));
        count += 1;
    }
    Ok(count)
}

/// What a receive gives back: the datagram, and the permit.
type DatagramOutput = (io::Result<(Lease, Ancillary)>, Permit<Chunk>);

async fn recv_with_permit(permit: Permit<Chunk>) -> DatagramOutput {
    let handle = permit.handle().clone();
    // A ring is of no use but for multishot receives.
    let pool = handle.core.datagram_pool();
    let multishot = pool.has_ring();
    if !multishot && handle.queue.is_empty() {
        return recv_pooled(permit).await;
    }
    let mut refill = Refill::<Datagrams>::new(&handle);
    let chunk = match poll_fn(|cx| refill.poll_chunk(multishot, cx)).await {
        Ok(chunk) => chunk,
        Err(error) => return (Err(error), permit),
    };
    if pool.is_starving() {
        // Others wait for a buffer: this one queues behind them for the next.
        handle.cancel_multishot();
    }
    (Ok(taken(chunk.expect("the queue is armed or has something"))), permit)
}

/// A receive into a buffer of the core, where the kernel does not choose one itself.
async fn recv_pooled(mut permit: Permit<Chunk>) -> DatagramOutput {
    let handle = permit.handle().clone();
    let pool = handle.core.datagram_pool();
    loop {
        let mut refill = Refill::<Datagrams>::new(&handle);
        if let Err(error) = poll_fn(|cx| refill.poll_room(cx)).await {
            return (Err(error), permit);
        }
        drop(refill);
        let op = RecvDatagram::new(permit, pool.clone());
        let (received, back) = perform(&handle, Interest::Readable, op).await;
        permit = back;
        if let Some(received) = received.transpose() {
            return (received, permit);
        }
    }
}

/// Sends datagrams, in order, and waits for room until all are out: how many went. An error is
/// that of the first one; later ones are for the next call to find.
pub(crate) async fn send_many<B: IoBuf>(
    handle: &Rc<IoHandle>,
    mut datagrams: Vec<Outgoing<B>>,
) -> (io::Result<usize>, Vec<Outgoing<B>>) {
    let mut permit = match acquire(handle, Interest::Writable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), datagrams),
    };
    let mut sent = 0;
    while sent < datagrams.len() {
        let op = SendMany::new(permit, datagrams, sent);
        let result;
        (result, datagrams, permit) = perform(handle, Interest::Writable, op).await;
        match result {
            Ok(count) => sent += count,
            Err(_) if sent > 0 => break,
            Err(error) => return (Err(error), datagrams),
        }
    }
    (Ok(sent), datagrams)
}
