//! Refilling the receive queue: a multishot receive into buffers of the core, and the wait for one.
//!
//! The bytes of a stream and datagrams come the same way. A multishot receive, where the ring has it,
//! delivers into the handle's receive queue, ahead of the reader up to a limit. It needs a buffer to
//! be armed; where there is none the reader stands in the pool's wait queue. The two differ in their
//! pool, in the operation, and in what an answer without a buffer stands for.
//!
//! # Bulk
//! A multishot receive is stopped at the limit, but only at the next entry into the kernel, and until
//! then it goes on: a stream in bulk would fill buffers as fast as they can be had, none of which is
//! in the cache any more when the reader comes to it. So a stream whose reader has fallen behind goes
//! on piece by piece, each of which is asked for when the one before has been taken. The stream is
//! given back to the multishot when a small piece shows that the socket had no more. All this holds
//! where the kernel goes on filling a buffer (6.12) and buffers are large.
//!
//! ```text
//!                 the receive queue has reached its limit
//!   multishot ─────────────────────────────────────▶ piece by piece
//!       ◀───────────────────────────────────────────────
//!                 a small piece that left room in its buffer
//! ```

use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::chunk::{says_nothing, Chunk, IoHandle};
use crate::buf::{Lease, Pool};
use crate::completion::{Completion, Sink};
use crate::op::{Code, Interest};
use crate::runtime::Core;
use crate::sync::Position;
use crate::sys::errno;

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

/// Takes one answer of the receive into the receive queue; `last` says that no other follows.
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
        // Nobody waits for the bytes, and buffers are scarce: what may lie for long keeps none.
        (..=0, Some(lease)) if waker.is_none() && pool.is_scarce() => {
            queue.push(Ok(Chunk::Lease(Lease::from_vec(lease.to_vec()))));
        }
        (..=0, Some(lease)) => queue.push(Ok(Chunk::Lease(lease))),
        (0, None) => queue.push(Ok(Chunk::Lease(S::nothing()))),
        (..0, None) => unreachable!("bytes were received into no buffer"),
        // The reader arms anew, or finds that it must wait for a buffer.
        (errno::ENOBUFS, _) => {
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

/// One reader's wait for what comes next: for the receive queue, or in the pool's wait queue for the
/// buffer that a receive needs.
pub(super) struct Refill<'a, S: Source> {
    handle: &'a Rc<IoHandle>,
    /// Where it stands in the pool's wait queue, if it does.
    position: Option<Position>,
    source: PhantomData<S>,
}

impl<'a, S: Source> Refill<'a, S> {
    pub(super) fn new(handle: &'a Rc<IoHandle>) -> Refill<'a, S> {
        Refill { handle, position: None, source: PhantomData }
    }

    /// The next item of the receive queue. If it is empty and nothing under way, `arm` says whether to
    /// start a multishot receive; if not, the answer is `None`.
    pub(super) fn poll_chunk(
        &mut self,
        arm: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let handle = self.handle;
        handle.poll_until(Interest::Readable, cx, |cx| {
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
            Poll::Pending
        })
    }

    /// Ready when there may be a buffer, for a receive that chooses it itself.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.poll_until(Interest::Readable, cx, |cx| {
            if self.may_try(cx) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
    }

    /// Whether it may try for a buffer now; else the task is woken when it may.
    pub(super) fn may_try(&mut self, cx: &mut Context<'_>) -> bool {
        let pool = S::pool(&self.handle.core);
        if pool.has_room() && pool.admits(self.position) {
            return true;
        }
        pool.wait(&mut self.position, cx.waker());
        false
    }

    /// Starts a receive if there may be a buffer for it; else waits for one.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let handle = self.handle;
        if !self.may_try(cx) {
            return;
        }
        S::pool(&handle.core).leave(&mut self.position);
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
}

impl<S: Source> Drop for Refill<'_, S> {
    fn drop(&mut self) {
        S::pool(&self.handle.core).leave(&mut self.position);
    }
}
