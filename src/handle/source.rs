//! What a handle receives through the core's buffers: the bytes of a stream, or datagrams.
//!
//! Both come the same way: a multishot receive, where the ring has it, delivers into the handle's
//! feed, ahead of the reader up to a limit; it needs a buffer to be armed, and where there is none
//! the reader stands in the pool's line. They differ in their pool, in the operation, and in
//! what an answer without a buffer stands for.
//!
//! # Bulk
//! A multishot receive is stopped at the limit, but only at the next entry into the kernel, and until
//! then it goes on: a stream in bulk would fill buffers as fast as they can be had, none of which is
//! in the cache any more when the reader comes to it. So a stream whose reader has fallen behind goes
//! on piece by piece, each of which is asked for when the one before has been taken. It is given back
//! to the multishot when a small piece shows that the socket had no more. So it is where the kernel
//! goes on filling a buffer (6.12), and buffers are large.
//!
//! ```text
//!                 the feed has reached its limit
//!   multishot ─────────────────────────────────────▶ piece by piece
//!       ◀───────────────────────────────────────────────
//!                 a small piece that left room in its buffer
//! ```

use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::recv::{says_nothing, Chunk, IoHandle};
use crate::buf::{Lease, Pool};
use crate::completion::{Completion, Sink};
use crate::op::{Code, Interest};
use crate::runtime::Core;
use crate::sync::Position;

/// One kind of what is received.
pub(super) trait Source {
    /// The multishot receive.
    const MULTISHOT: Code;

    /// What it may deliver ahead of the reader, before it is stopped.
    const AHEAD_MAX: usize;

    /// The receive of one piece, into a buffer that the kernel chooses; none where each receive takes
    /// a buffer anyway.
    const PIECE: Option<Code>;

    /// Where the buffers come from.
    fn pool(core: &Core) -> &Rc<Pool>;

    /// What the multishot receive delivers to: see `deliver`.
    fn sink(handle: &Rc<IoHandle>) -> Rc<dyn Sink>;

    /// What an answer without a buffer stands for, which received nothing.
    fn nothing() -> Lease;
}

/// Buffers so long at least are worth a receive of their own.
const PIECE_MIN: u32 = 32 << 10;

/// A piece so long at most, that leaves room in its buffer, is not of a stream in bulk.
const SMALL: u32 = 8 << 10;

/// Takes one answer of the receive into the feed; `last` says that no other follows.
/// Returns whom to wake.
pub(super) fn deliver<S: Source>(
    handle: &IoHandle,
    completion: Completion,
    last: bool,
) -> Option<Waker> {
    let queue = &handle.queue;
    if last {
        queue.set_disarmed();
    }
    let pool = S::pool(&handle.core);
    let count = completion.result.max(0) as u32;
    let filled = completion.buffer();
    let lease = filled.map(|it| pool.filled_by_kernel(it.id, count, it.more));
    let waker = queue.take_waker();
    match (-completion.result, lease) {
        // Nobody is there to take it, and buffers are scarce: it shall not keep one.
        (..=0, Some(lease)) if waker.is_none() && pool.is_scarce() => {
            queue.push(Ok(Chunk::Lease(Lease::from_vec(lease.to_vec()))));
        }
        (..=0, Some(lease)) => queue.push(Ok(Chunk::Lease(lease))),
        (0, None) => queue.push(Ok(Chunk::Lease(S::nothing()))),
        (..0, None) => unreachable!("bytes were received into no buffer"),
        // The reader arms anew, or finds that it must wait for a buffer.
        (libc::ENOBUFS, _) => {
            pool.grow();
        }
        (errno, _) if says_nothing(errno) => {}
        (errno, _) => queue.push(Err(io::Error::from_raw_os_error(errno))),
    }
    if queue.has(S::AHEAD_MAX) {
        handle.cancel_multishot();
        handle.piecewise.set(true);
    } else if handle.piecewise.get() && count <= SMALL && filled.is_some_and(|it| it.more) {
        handle.piecewise.set(false);
    }
    waker
}

/// A place in the line for a buffer.
pub(super) struct Ticket<'a, S: Source> {
    handle: &'a Rc<IoHandle>,
    place: Option<Position>,
    source: PhantomData<S>,
}

impl<'a, S: Source> Ticket<'a, S> {
    pub(super) fn new(handle: &'a Rc<IoHandle>) -> Ticket<'a, S> {
        Ticket { handle, place: None, source: PhantomData }
    }

    /// The next item of the feed. If nothing is there and nothing under way, `arm` says whether to
    /// start a multishot receive; if not, the answer is `None`.
    pub(super) fn poll_chunk(
        &mut self,
        arm: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let handle = self.handle;
        if let Some(refusal) = handle.refusal(Interest::Readable) {
            return Poll::Ready(Err(refusal.into()));
        }
        if let Some(item) = handle.queue.pop() {
            return Poll::Ready(item.map(Some));
        }
        if handle.queue.armed().is_none() {
            if !arm {
                return Poll::Ready(Ok(None));
            }
            self.arm(cx);
            if let Some(item) = handle.queue.pop() {
                return Poll::Ready(item.map(Some));
            }
        }
        handle.queue.set_waker(cx);
        handle.arm_deadline(Interest::Readable, cx);
        Poll::Pending
    }

    /// Ready when there may be a buffer, for a receive that chooses it itself.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(refusal) = self.handle.refusal(Interest::Readable) {
            return Poll::Ready(Err(refusal.into()));
        }
        if self.may_try(cx) {
            return Poll::Ready(Ok(()));
        }
        self.handle.arm_deadline(Interest::Readable, cx);
        Poll::Pending
    }

    /// Starts a receive if there may be a buffer for it; else waits for one.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let handle = self.handle;
        if !self.may_try(cx) {
            return;
        }
        S::pool(&handle.core).leave(&mut self.place);
        let mut driver = handle.core.driver.borrow_mut();
        // Where each piece takes a buffer, none would show that there was no more.
        let piece = S::PIECE.filter(|_| {
            let large = S::pool(&handle.core).buffer_size() >= PIECE_MIN;
            handle.piecewise.get() && large && handle.core.capabilities.fills_on
        });
        let code = piece.unwrap_or(S::MULTISHOT);
        match driver.start_stream(code, handle.fd(), S::sink(handle)) {
            Ok(token) => handle.queue.set_armed(token),
            Err(error) => handle.queue.push(Err(error)),
        }
    }

    /// Whether it may try for a buffer now; else the task is woken when it may.
    fn may_try(&mut self, cx: &mut Context<'_>) -> bool {
        let pool = S::pool(&self.handle.core);
        if pool.has_room() && pool.admits(self.place) {
            return true;
        }
        pool.wait(&mut self.place, cx.waker());
        false
    }
}

impl<S: Source> Drop for Ticket<'_, S> {
    fn drop(&mut self) {
        S::pool(&self.handle.core).leave(&mut self.place);
    }
}
