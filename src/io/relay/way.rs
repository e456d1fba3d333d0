//! One way of a relay: which path its bytes take, and what has been carried.
//!
//! ```text
//!              bulk: pieces are large on average, and there is a pipe to be had
//!   copying ──────────────────────────────────────────────────────▶ splicing
//!   (leases) ◀────────────────────────────────────────────────────── (pipes)
//!              quiet: pieces are small on average; or no pipe, or the limit is near
//! ```
//!
//! A lease costs little for each message and a copy for each byte, a splice the other way round. The
//! last few pieces decide, and not a single one, so that a path is left only when the traffic has
//! changed.
//!
//! Copying is a state machine written out, since there are two for every connection of a proxy, and
//! each message touches them; splicing is for bulk, and an async block in a box.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::Instant;

use super::RelayPath;
use crate::buf::Lease;
use crate::handle::permit::Permit;
use crate::handle::recv::{self, Chunk, IoHandle, NextLease};
use crate::handle::send::{self, WriteAll};
use crate::io::written;
use crate::op::Send;
use crate::timer::clock;

#[cfg(target_os = "linux")]
use super::splicing::{self, Left};

/// What both ways share.
pub(super) struct Shared {
    /// Bytes that have been written, each way.
    pub(super) counts: [Cell<u64>; 2],
    /// Bytes that may still be carried.
    pub(super) left: Cell<u64>,
    /// There is an idle timeout.
    watched: bool,
    /// When bytes moved last, if that is watched.
    pub(super) last: Cell<Instant>,
}

impl Shared {
    pub(super) fn new(limit: u64, watched: bool) -> Shared {
        let (counts, left, last) = (Default::default(), Cell::new(limit), Cell::new(clock::now()));
        Shared { counts, left, watched, last }
    }

    fn note_progress(&self) {
        if self.watched {
            self.last.set(clock::now());
        }
    }

    /// So many bytes have been received, and are to be carried.
    pub(super) fn note_received(&self, len: u64) {
        self.note_progress();
        self.left.set(self.left.get() - len);
    }

    /// So many bytes have been written, the first way or the second.
    pub(super) fn note_written(&self, index: usize, len: u64) {
        let counted = &self.counts[index];
        counted.set(counted.get() + len);
        self.note_progress();
    }

    /// All of so many bytes have been written; or a part, if the error tells of one.
    pub(super) fn note_result(&self, index: usize, len: u64, result: &io::Result<()>) {
        self.note_written(
            index,
            match result {
                Ok(()) => len,
                Err(error) => written(error).unwrap_or(0) as u64,
            },
        );
    }
}

/// One way of a relay. As a future it is done when the stream has ended and the other side knows.
pub(super) struct Way<'a> {
    pub(super) from: &'a Rc<IoHandle>,
    to: &'a Rc<IoHandle>,
    shared: Rc<Shared>,
    /// Which of the two ways this is.
    index: usize,
    path: RelayPath,
    pace: Pace,
    stage: Stage<'a>,
}

type WriteLease<'a> = WriteAll<'a, Lease, Send<Permit<Chunk>, Lease>, Direct>;
type Direct = fn(Permit<Chunk>, Lease, usize) -> Send<Permit<Chunk>, Lease>;

enum Stage<'a> {
    /// The next lease is awaited.
    Receiving(NextLease<'a>),
    /// So many bytes of a lease are being written; with them the limit is reached, or not.
    Writing {
        len: u64,
        is_last: bool,
        write: WriteLease<'a>,
    },
    /// Bulk is being spliced, until the stream has ended or there is no bulk any more.
    #[cfg(target_os = "linux")]
    Splicing(Pin<Box<dyn Future<Output = io::Result<Left>> + 'a>>),
    /// The other side is told of the end.
    Ending(send::ShuttingDown),
    Done,
}

impl<'a> Way<'a> {
    /// A way, the first or the second of two, that writes `prefix` before all else.
    pub(super) fn new(
        index: usize,
        [from, to]: [&'a Rc<IoHandle>; 2],
        path: RelayPath,
        shared: &Rc<Shared>,
        prefix: &[u8],
    ) -> Way<'a> {
        let (shared, pace, stage) = (shared.clone(), Pace::of_copies(from), Stage::Done);
        let mut way = Way { from, to, shared, index, path, pace, stage };
        way.stage = match prefix {
            [] => way.next(),
            prefix => way.write(Lease::from_vec(prefix.to_vec())),
        };
        way
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    fn poll_stages(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Receiving(receive) => match ready!(Pin::new(receive).poll(cx))? {
                    Some(lease) => self.carry(lease),
                    None => self.end()?,
                },
                Stage::Writing { len, is_last, write } => {
                    let (result, lease) = ready!(Pin::new(write).poll(cx));
                    drop(lease);
                    let (len, is_last) = (*len, *is_last);
                    self.shared.note_result(self.index, len, &result);
                    result?;
                    if is_last {
                        return Poll::Ready(Err(over_the_limit()));
                    }
                    self.next()
                }
                #[cfg(target_os = "linux")]
                Stage::Splicing(splice) => match ready!(splice.as_mut().poll(cx))? {
                    Left::End => self.end()?,
                    Left::Quiet => self.receive(),
                    Left::Refused => {
                        self.path = RelayPath::Copy;
                        self.receive()
                    }
                },
                Stage::Ending(shut_down) => {
                    return match ready!(Pin::new(shut_down).poll(cx)) {
                        // It has gone entirely meanwhile; the other way will tell how.
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                            Poll::Ready(Ok(()))
                        }
                        other => Poll::Ready(other),
                    };
                }
                Stage::Done => return Poll::Ready(Ok(())),
            };
        }
    }

    /// The next piece, by the path that suits what has come lately.
    fn next(&mut self) -> Stage<'a> {
        #[cfg(target_os = "linux")]
        if self.pace.is_bulk(self.path) && splicing::is_possible(self.from, &self.shared) {
            let ends = [self.from, self.to];
            let splice = splicing::splice(self.index, ends, self.path, self.shared.clone());
            return Stage::Splicing(Box::pin(splice));
        }
        Stage::Receiving(recv::recv(self.from))
    }

    /// The next lease, of a new run.
    #[cfg(target_os = "linux")]
    fn receive(&mut self) -> Stage<'a> {
        self.pace = Pace::of_copies(self.from);
        Stage::Receiving(recv::recv(self.from))
    }

    /// A lease has come: it is written to the other side.
    fn carry(&mut self, lease: Lease) -> Stage<'a> {
        self.pace.note(lease.len());
        let core = &self.from.core;
        core.relayed.copied.add(lease.len() as u64);
        // A side that reads slowly must not keep a buffer from the others, if they are scarce.
        self.write(core.pool.spare(lease))
    }

    /// Writes a lease, or what the limit leaves of it.
    fn write(&mut self, mut lease: Lease) -> Stage<'a> {
        let (len, left) = (lease.len() as u64, self.shared.left.get());
        let is_last = len > left;
        if is_last {
            lease.truncate(left as usize);
        }
        let len = len.min(left);
        self.shared.note_received(len);
        let write = send::write_all(self.to, lease, Send::all as Direct);
        Stage::Writing { len, is_last, write }
    }

    fn end(&self) -> io::Result<Stage<'a>> {
        send::shutdown(self.to, net::Shutdown::Write).map(Stage::Ending)
    }
}

impl Future for Way<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this.poll_stages(cx);
        if polled.is_ready() {
            this.stage = Stage::Done;
        }
        polled
    }
}

fn over_the_limit() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "the limit has been reached")
}

/// From which size on pieces are spliced, and to which they are copied again, on average. Measured with
/// messages there and back over 16 connections (`relay-16x4k` to `-16x256k` of the benches, with
/// `ringpark-copy` and `ringpark-splice`; Linux 6.18): splicing costs 1.4 of copying for 4 and 8 KiB,
/// as much for 16 KiB, 0.9 for 32, 0.7 for 64, and 0.45 in bulk. So little is lost between the two, and
/// the same traffic does not leave a path for the other and come back.
const LARGE: u32 = 24 << 10;
const SMALL: u32 = 8 << 10;

/// Pieces beyond this are no more bulk than others.
const PIECE_MAX: u32 = 64 << 10;

/// The size of the last pieces: an average, since one message comes in pieces of all sizes.
pub(super) struct Pace {
    average: u32,
    /// From which average on there is bulk.
    threshold: u32,
}

impl Pace {
    /// Of pieces that are no longer than a buffer.
    fn of_copies(from: &IoHandle) -> Pace {
        let full = from.core.pool.buffer_size();
        Pace { average: 0, threshold: LARGE.min(full - full / 8) }
    }

    /// Of pieces of any size, in bulk.
    #[cfg(target_os = "linux")]
    pub(super) fn of_splices() -> Pace {
        Pace { average: LARGE, threshold: LARGE }
    }

    /// A quarter of what it was is forgotten with each piece.
    pub(super) fn note(&mut self, len: usize) {
        let len = len.min(PIECE_MAX as usize) as u32;
        self.average = self.average - self.average / 4 + len / 4;
    }

    fn is_bulk(&self, path: RelayPath) -> bool {
        match path {
            RelayPath::Copy => false,
            RelayPath::Splice => true,
            RelayPath::Auto => self.average >= self.threshold,
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn is_quiet(&self, path: RelayPath) -> bool {
        path == RelayPath::Auto && self.average <= SMALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces of a size it takes until `pace` is as told.
    fn pieces(pace: &mut Pace, len: usize, mut is_so: impl FnMut(&Pace) -> bool) -> usize {
        (0..100)
            .find(|_| {
                is_so(pace) || {
                    pace.note(len);
                    false
                }
            })
            .unwrap_or(100)
    }

    #[test]
    fn some_large_pieces_make_bulk_and_some_small_ones_end_it() {
        let bulk = |pace: &Pace| pace.is_bulk(RelayPath::Auto);
        let mut pace = Pace { average: 0, threshold: LARGE };
        assert_eq!(pieces(&mut pace, 16 << 10, bulk), 100, "16 KiB are copied");
        assert!(pieces(&mut pace, 64 << 10, bulk) <= 4);
        // Halves of messages, and what is left at the end of a buffer.
        (0..20).for_each(|round| pace.note(if round % 4 == 3 { 1 << 10 } else { 40 << 10 }));
        assert!(bulk(&pace));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bulk_ends_with_some_small_pieces() {
        let quiet = |pace: &Pace| pace.is_quiet(RelayPath::Auto);
        let mut pace = Pace::of_splices();
        assert_eq!(pieces(&mut pace, 1 << 20, quiet), 100);
        let small = pieces(&mut pace, 64, quiet);
        assert!((2..=10).contains(&small), "{small}");
    }

    #[test]
    fn a_forced_path_is_not_left() {
        let mut pace = Pace { average: 0, threshold: LARGE };
        assert!(pace.is_bulk(RelayPath::Splice));
        (0..20).for_each(|_| pace.note(1 << 20));
        assert!(!pace.is_bulk(RelayPath::Copy));
    }
}
