//! Receiving the bytes of a stream: through a multishot receive where the ring has it, else one by
//! one.
//!
//! Bytes that wait in the handle's receive queue are taken before any others, so that all kinds of
//! reads of one stream can be mixed.

use std::future::{poll_fn, Future};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use super::chunk::{fill, Chunk, IoHandle};
use super::permit::{acquire, perform, Acquire, Perform, Permit};
use super::refill::{self, Refill, Source};
use crate::buf::{IoBufMut, Lease, Pool, Slice};
use crate::completion::{Completion, Sink};
use crate::op::{self, Code, Interest, Op, RecvPooled};
use crate::runtime::Core;

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
        refill::deliver::<Stream>(self, completion, last)
    }
}

/// The next bytes, in a lease; `None` at the end of the stream.
pub(crate) fn recv(handle: &Rc<IoHandle>) -> Recv<'_> {
    Recv { handle, stage: Receiving::Acquiring(acquire(handle, Interest::Readable)) }
}

/// The next bytes of a connection: the future of
/// [`TcpStream::recv`](crate::net::TcpStream::recv), and of that method of each connection and each
/// read half. Dropping it loses nothing.
// It is written out, like `Perform`, since it is the state of every task that waits for its
// connection, and this way it is smallest.
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a> {
    handle: &'a Rc<IoHandle>,
    stage: Receiving<'a>,
}

enum Receiving<'a> {
    /// Waits for the permit.
    Acquiring(Acquire<'a, Chunk>),
    /// Waits for the receive queue, or for the buffer that a multishot receive needs.
    Queued { multishot: bool, refill: Refill<'a, Stream>, _permit: Permit<Chunk> },
    /// Waits for a buffer, where the kernel does not choose one itself.
    Starved { refill: Refill<'a, Stream>, permit: Option<Permit<Chunk>> },
    /// Waits for bytes.
    Performing(Perform<'a, Chunk, RecvPooled<Permit<Chunk>>>),
    /// Waits for nothing any more: the permit has been given back.
    Done,
}

impl Recv<'_> {
    /// Gives the permit back: a future that is kept after its end must not keep the permit. It is
    /// called before the result is made, so that the result is made in the caller's place and not
    /// moved there.
    fn end(&mut self) {
        self.stage = Receiving::Done;
    }

    /// What has been received; `None` at the end of the stream.
    fn take(&self, chunk: io::Result<Option<Chunk>>) -> io::Result<Option<Lease>> {
        let lease = chunk?.expect("the queue is armed or has something").into_lease();
        if self.handle.core.pool.is_starving() {
            // Others wait for a buffer: this one queues behind them for the next.
            self.handle.cancel_multishot();
        }
        Ok((!lease.is_empty()).then_some(lease))
    }
}

impl Future for Recv<'_> {
    type Output = io::Result<Option<Lease>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let handle = this.handle;
        loop {
            // What comes next is stored only if there is something to wait for.
            this.stage = match &mut this.stage {
                Receiving::Acquiring(wait) => {
                    let permit = match ready!(Pin::new(wait).poll(cx)) {
                        Ok(permit) => permit,
                        Err(error) => {
                            this.end();
                            return Poll::Ready(Err(error));
                        }
                    };
                    let mut refill = Refill::new(handle);
                    let multishot = handle.core.capabilities.takes(Code::RecvMulti);
                    if multishot || !handle.queue.is_empty() {
                        if let Poll::Ready(chunk) = refill.poll_chunk(multishot, cx) {
                            this.end();
                            return Poll::Ready(this.take(chunk));
                        }
                        this.stage = Receiving::Queued { multishot, refill, _permit: permit };
                        return Poll::Pending;
                    }
                    // Nearly always there is a buffer.
                    if refill.may_try(cx) {
                        Receiving::Performing(receive(handle, permit))
                    } else {
                        Receiving::Starved { refill, permit: Some(permit) }
                    }
                }
                Receiving::Queued { multishot, refill, .. } => {
                    let chunk = ready!(refill.poll_chunk(*multishot, cx));
                    this.end();
                    return Poll::Ready(this.take(chunk));
                }
                Receiving::Starved { refill, permit } => match ready!(refill.poll_room(cx)) {
                    Ok(()) => {
                        let permit = permit.take().expect("who waits for a buffer has the permit");
                        Receiving::Performing(receive(handle, permit))
                    }
                    Err(error) => {
                        this.end();
                        return Poll::Ready(Err(error));
                    }
                },
                Receiving::Performing(op) => {
                    let (received, permit) = ready!(Pin::new(op).poll(cx));
                    if let Ok(None) = received {
                        let refill = Refill::new(handle);
                        this.stage = Receiving::Starved { refill, permit: Some(permit) };
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
    perform(handle, Interest::Readable, RecvPooled::new(permit))
}

/// The next item of the receive queue. If it is empty and nothing under way, the answer is `None`.
pub(super) async fn next_chunk(handle: &Rc<IoHandle>) -> io::Result<Option<Chunk>> {
    let mut refill = Refill::<Stream>::new(handle);
    poll_fn(|cx| refill.poll_chunk(false, cx)).await
}

/// What an operation that reads gives back: the count, the buffer, the permit.
type ReadOutput<B> = (io::Result<usize>, B, Permit<Chunk>);

/// Reads into the caller's buffer; 0 is the end of the stream, unless the buffer has no room.
/// `direct` makes the operation that is used when nothing was received ahead.
pub(crate) async fn read<B: IoBufMut, O: Op<Output = ReadOutput<B>>>(
    handle: &Rc<IoHandle>,
    buffer: B,
    direct: impl FnOnce(Permit<Chunk>, B) -> O,
) -> (io::Result<usize>, B) {
    match acquire(handle, Interest::Readable).await {
        Ok(permit) => {
            let (result, buffer, _permit) = read_with_permit(handle, permit, buffer, direct).await;
            (result, buffer)
        }
        Err(error) => (Err(error), buffer),
    }
}

/// Fills the buffer's room, with one permit, so that no other read comes between.
pub(crate) async fn read_exact<B: IoBufMut, O: Op<Output = ReadOutput<Slice<B>>>>(
    handle: &Rc<IoHandle>,
    mut buffer: B,
    direct: impl Fn(Permit<Chunk>, Slice<B>) -> O,
) -> (io::Result<()>, B) {
    let mut permit = match acquire(handle, Interest::Readable).await {
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

async fn read_with_permit<B: IoBufMut, O: Op<Output = ReadOutput<B>>>(
    handle: &Rc<IoHandle>,
    permit: Permit<Chunk>,
    mut buffer: B,
    direct: impl FnOnce(Permit<Chunk>, B) -> O,
) -> ReadOutput<B> {
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
    let permit = match acquire(handle, Interest::Readable).await {
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
            let op = op::Recv::peek(permit, buffer);
            let (result, buffer, _permit) = perform(handle, Interest::Readable, op).await;
            (result, buffer)
        }
    }
}

/// Ends the multishot receive, so that the next bytes stay in the socket.
async fn end_multishot(handle: &Rc<IoHandle>) -> io::Result<()> {
    handle.cancel_multishot();
    poll_fn(|cx| poll_ended(handle, cx)).await
}

/// Waits for the end of a multishot receive that has been asked to end.
pub(super) fn poll_ended(handle: &Rc<IoHandle>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    handle.poll_until(Interest::Readable, cx, |cx| handle.queue.poll_disarmed(cx).map(Ok))
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
    let _permit = acquire(handle, Interest::Readable).await?;
    end_multishot(handle).await?;
    let chunk = handle.queue.pop().transpose()?;
    Ok(chunk.map(Chunk::into_lease))
}
