//! One way of a relay: which path its bytes take, and what has been carried.
//!
//! ```text
//!              bulk: a run of large pieces, and a pipe to be had
//!   copying ──────────────────────────────────────────────────────▶ splicing
//!   (leases) ◀────────────────────────────────────────────────────── (pipes)
//!              quiet: a run of small pieces; or no pipe, or the limit is near
//! ```
//!
//! A lease costs little for each message and a copy for each byte, a splice the other way round. A
//! run, and not a single piece, decides, so that a path is left only when the traffic has changed.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::RelayPath;
use crate::buf::{IoBuf, Lease};
use crate::io::{inbound, outbound, written};
use crate::op;
use crate::time::clock;

#[cfg(target_os = "linux")]
use {
    crate::buf::{PooledPipe, PIPE_SIZE},
    crate::io::turn::{perform, turn},
    crate::op::{Interest, SpliceIn, SpliceOut, Spliced},
};

/// What both ways share.
pub(super) struct Shared {
    /// Bytes that may still be carried.
    pub(super) left: Rc<Cell<u64>>,
    /// There is an idle timeout.
    pub(super) watched: bool,
    /// When bytes moved last, if that is watched.
    pub(super) last: Cell<Instant>,
}

impl Shared {
    fn note_progress(&self) {
        if self.watched {
            self.last.set(clock::now());
        }
    }
}

/// How a path was left.
enum Left {
    /// The stream has ended.
    End,
    /// The other path is better.
    Changed,
}

/// One way of a relay.
pub(super) struct Way<'a> {
    from: &'a Rc<inbound::Bytes>,
    to: &'a Rc<inbound::Bytes>,
    shared: &'a Shared,
    path: Cell<RelayPath>,
    pub(super) count: Cell<u64>,
}

impl<'a> Way<'a> {
    pub(super) fn new(
        from: &'a Rc<inbound::Bytes>,
        to: &'a Rc<inbound::Bytes>,
        shared: &'a Shared,
        path: RelayPath,
    ) -> Way<'a> {
        Way { from, to, shared, path: Cell::new(path), count: Cell::new(0) }
    }

    pub(super) async fn run(&self, prefix: Bytes) -> io::Result<()> {
        if !prefix.is_empty() {
            self.carry(prefix, |bytes, len| bytes.truncate(len)).await?;
        }
        #[cfg(target_os = "linux")]
        loop {
            if let Left::End = self.copy().await? {
                break;
            }
            if let Left::End = self.splice().await? {
                break;
            }
        }
        #[cfg(not(target_os = "linux"))]
        self.copy().await?;
        match outbound::shutdown(self.to, Shutdown::Write).await {
            // It has gone entirely meanwhile; the other way will tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Carries pieces in leases, until there is bulk.
    async fn copy(&self) -> io::Result<Left> {
        let mut pace = Pace::new(LARGE.min(self.from.core.pool.buffer_size()));
        while !self.may_splice() || !pace.is_bulk(self.path.get()) {
            let Some(lease) = inbound::recv(self.from).await? else {
                return Ok(Left::End);
            };
            pace.note(lease.len());
            self.carry_lease(lease).await?;
        }
        Ok(Left::Changed)
    }

    async fn carry_lease(&self, lease: Lease) -> io::Result<()> {
        self.shared.note_progress();
        let core = &self.from.core;
        core.relayed.copied.set(core.relayed.copied.get() + lease.len() as u64);
        // A side that reads slowly must not keep a buffer from the others, if they are scarce.
        self.carry(core.pool.spare(lease), Lease::truncate).await
    }

    /// Writes a piece, or what the limit leaves of it.
    async fn carry<B: IoBuf>(
        &self,
        mut piece: B,
        truncate: impl FnOnce(&mut B, usize),
    ) -> io::Result<()> {
        let (len, left) = (piece.bytes_init() as u64, self.shared.left.get());
        let over = len > left;
        if over {
            truncate(&mut piece, left as usize);
        }
        let len = len.min(left);
        self.shared.left.set(left - len);
        match outbound::write_all(self.to, piece, op::Send::all).await.0 {
            Ok(()) => self.count.set(self.count.get() + len),
            Err(error) => {
                let partly = written(&error).unwrap_or(0);
                self.count.set(self.count.get() + partly as u64);
                return Err(error);
            }
        }
        self.shared.note_progress();
        match over {
            true => Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the limit has been reached")),
            false => Ok(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn may_splice(&self) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
impl Way<'_> {
    /// Whether splicing is allowed, and the limit so far away that no piece can reach beyond it.
    fn may_splice(&self) -> bool {
        self.path.get() != RelayPath::Copy
            && self.shared.left.get() >= PIPE_SIZE as u64
            && self.from.core.driver.borrow().splices()
    }

    /// Carries pieces through pipes, until there is no more bulk.
    async fn splice(&self) -> io::Result<Left> {
        // What a multishot receive has taken before it is stopped goes first.
        while let Some(ahead) = inbound::recv_ahead(self.from).await? {
            if ahead.is_empty() {
                return Ok(Left::End);
            }
            self.carry_lease(ahead).await?;
        }
        let mut pace = Pace::new(LARGE);
        while self.may_splice() && !pace.is_quiet(self.path.get()) {
            let turn = turn(self.from, Interest::Readable).await?;
            let core = &self.from.core;
            let limit = core.driver.borrow_mut().clip(PIPE_SIZE);
            let (pipes, nonblocking) = (core.pipes.clone(), self.from.is_nonblocking());
            let op = SpliceIn::new(turn, nonblocking, pipes, limit, self.shared.left.clone());
            match perform(self.from, Interest::Readable, op).await.0? {
                Spliced::Some(pipe) => {
                    pace.note(pipe.len());
                    self.carry_pipe(pipe).await?;
                }
                Spliced::End => return Ok(Left::End),
                Spliced::Refused(error) => {
                    let fd = self.from.fd();
                    tracing::debug!(target: "ringpark", fd, %error, "a relay copies: no splice");
                    self.path.set(RelayPath::Copy);
                }
            }
        }
        Ok(Left::Changed)
    }

    /// Writes what is in a pipe, which is not more than the limit leaves.
    async fn carry_pipe(&self, mut pipe: PooledPipe) -> io::Result<()> {
        self.shared.note_progress();
        self.shared.left.set(self.shared.left.get() - pipe.len() as u64);
        let core = &self.from.core;
        core.relayed.spliced.set(core.relayed.spliced.get() + pipe.len() as u64);
        let nonblocking = self.to.is_nonblocking();
        let mut turn = turn(self.to, Interest::Writable).await?;
        while pipe.len() > 0 {
            let op = SpliceOut::new(turn, nonblocking, pipe);
            let result;
            (result, pipe, turn) = perform(self.to, Interest::Writable, op).await;
            self.count.set(self.count.get() + result? as u64);
        }
        self.shared.note_progress();
        Ok(())
    }
}

/// A piece from which on splicing is cheaper, as measured; and one up to which it is not worth while.
const LARGE: usize = 32 << 10;
const SMALL: usize = 8 << 10;

/// How many pieces in a row make a run.
const RUN: u32 = 4;

/// The sizes of the last pieces.
struct Pace {
    /// From which size on a piece is large.
    threshold: usize,
    large: u32,
    small: u32,
}

impl Pace {
    fn new(threshold: usize) -> Pace {
        Pace { threshold, large: 0, small: 0 }
    }

    fn note(&mut self, len: usize) {
        self.large = if len >= self.threshold { self.large + 1 } else { 0 };
        self.small = if len <= SMALL { self.small + 1 } else { 0 };
    }

    fn is_bulk(&self, path: RelayPath) -> bool {
        path == RelayPath::Splice || self.large >= RUN
    }

    fn is_quiet(&self, path: RelayPath) -> bool {
        path == RelayPath::Auto && self.small >= RUN
    }
}
