//! Bytes that come in: through a multishot receive where the ring has it, else one by one.
//!
//! Whatever way the bytes come, they pass in order through the handle's feed if anything stands
//! there, so that all kinds of reads of one stream can be mixed.

use std::future::{poll_fn, Future};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use super::handle::Handle;
use super::permit::{perform, permit, Perform, Permit, WaitPermit};
use super::source::{self, Source, Ticket};
use crate::buf::{IoBufMut, Lease, Pool, Slice};
use crate::completion::{Completion, Sink};
use crate::op::{Code, Interest, Leftovers, Mailbox, Message, Op, Recv, RecvPooled};
use crate::runtime::Core;

/// What was received and not read yet.
pub(crate) enum Chunk {
    /// Bytes of a stream, none at all at its end; or a datagram, as the kernel has written it into
    /// the buffer: see `split_datagram`.
    Lease(Lease),
    /// A message that came for a receive whose future was dropped.
    Message(Box<Message>),
}

// What an idle connection costs is a promise: the room for one chunk is part of its handle.
const _: () = assert!(size_of::<Option<io::Result<Chunk>>>() <= 24);
const _: () = assert!(size_of::<IoHandle>() <= 112);

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Lease(lease) => lease,
            Chunk::Message(message) => &message.bytes,
        }
    }

    fn into_lease(self) -> Lease {
        match self {
            Chunk::Lease(lease) => lease,
            Chunk::Message(message) => Lease::from_vec(message.bytes),
        }
    }

    pub(super) fn advance(&mut self, count: usize) {
        match self {
            Chunk::Lease(lease) => lease.advance(count),
            Chunk::Message(message) => drop(message.bytes.drain(..count)),
        }
    }
}

/// A handle whose feed holds bytes.
pub(crate) type IoHandle = Handle<Chunk>;

/// The bytes of a stream.
pub(super) struct Stream;

impl Source for Stream {
    const MULTISHOT: Code = Code::RecvMulti;
    const AHEAD_MAX: usize = 4;
    const PIECE: Option<Code> = Some(Code::Recv);

    fn pool(core: &Core) -> &Rc<Pool> {
        &core.pool
    }

    fn sink(handle: &Rc<IoHandle>) -> Rc<dyn Sink> {
        handle.clone()
    }

    /// The end of the stream.
    fn nothing() -> Lease {
        Lease::empty()
    }
}

impl Sink for IoHandle {
    fn waiter(&self) -> Option<*const ()> {
        self.queue.waiter()
    }

    fn item(&self, completion: Completion, last: bool) -> Option<Waker> {
        source::deliver::<Stream>(self, completion, last)
    }
}

/// An error that tells of the attempt, and nothing of the stream.
pub(super) fn says_nothing(errno: i32) -> bool {
    matches!(errno, libc::ECANCELED | libc::EINTR | libc::EAGAIN)
}

impl Leftovers for Permit<Chunk> {
    fn keep(&self, received: io::Result<&[u8]>) {
        match received {
            // The end of the stream is found again by the next read.
            Ok([]) => {}
            Ok(bytes) => {
                self.handle().queue.push(Ok(Chunk::Lease(Lease::from_vec(bytes.to_vec()))))
            }
            Err(error) if error.raw_os_error().is_some_and(says_nothing) => {}
            Err(error) => self.handle().queue.push(Err(error)),
        }
    }
}

impl Mailbox for Permit<Chunk> {
    fn keep_message(&self, received: io::Result<Message>) {
        match received {
            Ok(message) => self.handle().queue.push(Ok(Chunk::Message(Box::new(message)))),
            Err(error) if error.raw_os_error().is_some_and(says_nothing) => {}
            Err(error) => self.handle().queue.push(Err(error)),
        }
    }
}

/// The next bytes, in a lease; `None` at the end of the stream.
pub(crate) fn recv(handle: &Rc<IoHandle>) -> NextLease<'_> {
    NextLease { handle, stage: Receiving::Waiting(permit(handle, Interest::Readable)) }
}

/// The future of [`recv`]. It is written out, like [`Perform`], since it is the state of every task
/// that waits for its connection, and this way it is smallest.
pub(crate) struct NextLease<'a> {
    handle: &'a Rc<IoHandle>,
    stage: Receiving<'a>,
}

enum Receiving<'a> {
    /// For the turn.
    Waiting(WaitPermit<'a, Chunk>),
    /// For the feed, or for the buffer that a multishot receive needs.
    Fed { multishot: bool, ticket: Ticket<'a, Stream>, _permit: Permit<Chunk> },
    /// For a buffer, where the kernel does not choose one itself.
    Empty { ticket: Ticket<'a, Stream>, permit: Option<Permit<Chunk>> },
    /// For bytes.
    Started(Perform<'a, Chunk, RecvPooled<Permit<Chunk>>>),
    /// For nothing any more: the turn is free.
    Done,
}

impl NextLease<'_> {
    /// It is over: whoever keeps the future longer than that must not keep the turn. Before the
    /// result is made, so that this is made where it is wanted, and not moved there.
    fn end(&mut self) {
        self.stage = Receiving::Done;
    }

    /// What has been received; `None` at the end of the stream.
    fn take(&self, chunk: io::Result<Option<Chunk>>) -> io::Result<Option<Lease>> {
        let lease = chunk?.expect("the queue is armed or has something").into_lease();
        if self.handle.core.pool.is_starving() {
            // Others wait for a buffer: stand in line behind them for the next one.
            self.handle.cancel_multishot();
        }
        Ok((!lease.is_empty()).then_some(lease))
    }
}

impl Future for NextLease<'_> {
    type Output = io::Result<Option<Lease>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let handle = this.handle;
        loop {
            // What comes next is stored only if there is something to wait for.
            this.stage = match &mut this.stage {
                Receiving::Waiting(wait) => {
                    let permit = match ready!(Pin::new(wait).poll(cx)) {
                        Ok(permit) => permit,
                        Err(error) => {
                            this.end();
                            return Poll::Ready(Err(error));
                        }
                    };
                    let mut ticket = Ticket::new(handle);
                    let multishot = handle.core.capabilities.takes(Code::RecvMulti);
                    if multishot || !handle.queue.is_empty() {
                        if let Poll::Ready(chunk) = ticket.poll_chunk(multishot, cx) {
                            this.end();
                            return Poll::Ready(this.take(chunk));
                        }
                        this.stage = Receiving::Fed { multishot, ticket, _permit: permit };
                        return Poll::Pending;
                    }
                    // Nearly always there is a buffer.
                    match ticket.poll_room(cx) {
                        Poll::Ready(Ok(())) => Receiving::Started(receive(handle, permit)),
                        _ => Receiving::Empty { ticket, permit: Some(permit) },
                    }
                }
                Receiving::Fed { multishot, ticket, .. } => {
                    let chunk = ready!(ticket.poll_chunk(*multishot, cx));
                    this.end();
                    return Poll::Ready(this.take(chunk));
                }
                Receiving::Empty { ticket, permit } => match ready!(ticket.poll_room(cx)) {
                    Ok(()) => {
                        let permit = permit.take().expect("who waits for a buffer has the permit");
                        Receiving::Started(receive(handle, permit))
                    }
                    Err(error) => {
                        this.end();
                        return Poll::Ready(Err(error));
                    }
                },
                Receiving::Started(op) => {
                    let (received, permit) = ready!(Pin::new(op).poll(cx));
                    if let Ok(None) = received {
                        let ticket = Ticket::new(handle);
                        this.stage = Receiving::Empty { ticket, permit: Some(permit) };
                        continue;
                    }
                    this.end();
                    return Poll::Ready(received.map(|lease| lease.filter(|it| !it.is_empty())));
                }
                Receiving::Done => panic!("a receive was polled after it was done"),
            };
        }
    }
}

/// Receives into a buffer of the core, of which there is one.
fn receive(
    handle: &Rc<IoHandle>,
    permit: Permit<Chunk>,
) -> Perform<'_, Chunk, RecvPooled<Permit<Chunk>>> {
    perform(handle, Interest::Readable, RecvPooled::new(permit, handle.core.pool.clone()))
}

/// The next item of the feed. If nothing is there and nothing under way, the answer is `None`.
pub(super) async fn next_chunk(handle: &Rc<IoHandle>) -> io::Result<Option<Chunk>> {
    let mut ticket = Ticket::<Stream>::new(handle);
    poll_fn(|cx| ticket.poll_chunk(false, cx)).await
}

/// What an operation that reads gives back: the count, the buffer, the turn.
type Received<B> = (io::Result<usize>, B, Permit<Chunk>);

/// Reads into the caller's buffer; 0 is the end of the stream, unless the buffer has no room.
/// `direct` makes the operation that is used when nothing was received ahead.
pub(crate) async fn read<B: IoBufMut, O: Op<Output = Received<B>>>(
    handle: &Rc<IoHandle>,
    buffer: B,
    direct: impl FnOnce(Permit<Chunk>, B) -> O,
) -> (io::Result<usize>, B) {
    match permit(handle, Interest::Readable).await {
        Ok(permit) => {
            let (result, buffer, _permit) = read_with_permit(handle, permit, buffer, direct).await;
            (result, buffer)
        }
        Err(error) => (Err(error), buffer),
    }
}

/// Fills the buffer's room, in one turn, so that no other read comes between.
pub(crate) async fn read_exact<B: IoBufMut, O: Op<Output = Received<Slice<B>>>>(
    handle: &Rc<IoHandle>,
    mut buffer: B,
    direct: impl Fn(Permit<Chunk>, Slice<B>) -> O,
) -> (io::Result<()>, B) {
    let mut permit = match permit(handle, Interest::Readable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    let total = buffer.bytes_total();
    let mut filled = 0;
    while filled < total {
        let rest = buffer.slice(filled..total);
        let (result, slice, back) = read_with_permit(handle, permit, rest, &direct).await;
        (buffer, permit) = (slice.into_inner(), back);
        match result {
            Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buffer),
            Ok(count) => filled += count,
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}

async fn read_with_permit<B: IoBufMut, O: Op<Output = Received<B>>>(
    handle: &Rc<IoHandle>,
    permit: Permit<Chunk>,
    mut buffer: B,
    direct: impl FnOnce(Permit<Chunk>, B) -> O,
) -> Received<B> {
    if buffer.bytes_total() == 0 {
        return (Ok(0), buffer, permit);
    }
    match next_chunk(handle).await {
        Err(error) => (Err(error), buffer, permit),
        Ok(Some(mut chunk)) => {
            let count = fill(&mut buffer, chunk.bytes());
            if count < chunk.bytes().len() {
                chunk.advance(count);
                handle.queue.put_back(chunk);
            }
            (Ok(count), buffer, permit)
        }
        Ok(None) => perform(handle, Interest::Readable, direct(permit, buffer)).await,
    }
}

/// Looks at the next bytes and leaves them where they are.
pub(crate) async fn peek<B: IoBufMut>(
    handle: &Rc<IoHandle>,
    mut buffer: B,
) -> (io::Result<usize>, B) {
    let permit = match permit(handle, Interest::Readable).await {
        Ok(permit) => permit,
        Err(error) => return (Err(error), buffer),
    };
    if buffer.bytes_total() == 0 {
        return (Ok(0), buffer);
    }
    match next_chunk(handle).await {
        Err(error) => (Err(error), buffer),
        Ok(Some(chunk)) => {
            let count = fill(&mut buffer, chunk.bytes());
            handle.queue.put_back(chunk);
            (Ok(count), buffer)
        }
        Ok(None) => {
            let op = Recv::peek(permit, buffer);
            let (result, buffer, _permit) = perform(handle, Interest::Readable, op).await;
            (result, buffer)
        }
    }
}

/// Copies as much as there is room for to the front of a buffer.
pub(super) fn fill<B: IoBufMut>(buffer: &mut B, bytes: &[u8]) -> usize {
    let count = bytes.len().min(buffer.bytes_total());
    crate::buf::write_front(buffer, &bytes[..count]);
    count
}

/// Ends the multishot receive, so that the next bytes stay in the socket.
async fn end_multishot(handle: &Rc<IoHandle>) -> io::Result<()> {
    handle.cancel_multishot();
    poll_fn(|cx| {
        if let Some(refusal) = handle.refusal(Interest::Readable) {
            return Poll::Ready(Err(refusal.into()));
        }
        handle.arm_deadline(Interest::Readable, cx);
        handle.queue.poll_disarmed(cx).map(Ok)
    })
    .await
}

/// Ends the multishot receive. Fails if some bytes have been received already: whoever wants to look
/// into the socket itself would not find them there.
pub(crate) async fn stop_ahead(handle: &Rc<IoHandle>) -> io::Result<()> {
    end_multishot(handle).await?;
    if handle.queue.is_empty() {
        return Ok(());
    }
    Err(io::Error::other("bytes have been received ahead by `recv`: take those with `read` first"))
}

/// Ends the multishot receive, and takes the next of what it has received: an empty lease is the end
/// of the stream, `None` says that everything else is still in the socket.
#[cfg(target_os = "linux")]
pub(crate) async fn recv_ahead(handle: &Rc<IoHandle>) -> io::Result<Option<Lease>> {
    let _permit = permit(handle, Interest::Readable).await?;
    end_multishot(handle).await?;
    let chunk = handle.queue.pop().transpose()?;
    Ok(chunk.map(Chunk::into_lease))
}
