//! The path of bulk: from socket to socket through a pipe of the core.

use std::io;
use std::rc::Rc;

use super::way::{Pace, Shared};
use super::RelayPath;
use crate::buf::{Lease, PooledPipe, PIPE_SIZE};
use crate::handle::permit::{perform, permit};
use crate::handle::recv::{self, IoHandle};
use crate::handle::send;
use crate::op::{Interest, Quota, Send, SpliceIn, SpliceOut, Spliced};

/// How the path was left.
pub(super) enum Left {
    /// The stream has ended.
    End,
    /// There is no bulk any more.
    Quiet,
    /// It cannot be gone.
    Refused,
}

impl Quota for Shared {
    fn left(&self) -> u64 {
        self.left.get()
    }
}

/// Whether splicing is allowed, and the limit so far away that no piece can reach beyond it.
pub(super) fn is_possible(from: &IoHandle, shared: &Shared) -> bool {
    shared.left.get() >= PIPE_SIZE as u64 && from.core.capabilities.splices
}

/// Carries pieces through pipes, until there is no more bulk.
pub(super) async fn splice(
    index: usize,
    ends: [&Rc<IoHandle>; 2],
    path: RelayPath,
    shared: Rc<Shared>,
) -> io::Result<Left> {
    let from = ends[0];
    let way = Splicing { index, to: ends[1], shared: &shared };
    // What a multishot receive has taken before it was stopped goes first.
    while let Some(ahead) = recv::recv_ahead(from).await? {
        if ahead.is_empty() {
            return Ok(Left::End);
        }
        if ahead.len() as u64 > shared.left.get() {
            // The other way has come near the limit meanwhile.
            from.queue.put_back(recv::Chunk::Lease(ahead));
            return Ok(Left::Refused);
        }
        way.carry_lease(ahead).await?;
    }
    let mut pace = Pace::of_splices();
    while !pace.is_quiet(path) {
        if !is_possible(from, &shared) {
            return Ok(Left::Refused);
        }
        let permit = permit(from, Interest::Readable).await?;
        let op = SpliceIn::new(permit, from.core.pipes.clone(), PIPE_SIZE, shared.clone());
        match perform(from, Interest::Readable, op).await.0? {
            Spliced::Some(pipe) => {
                pace.note(pipe.len());
                way.carry_pipe(pipe).await?;
            }
            Spliced::End => return Ok(Left::End),
            Spliced::Refused(error) => {
                let fd = from.fd();
                tracing::debug!(target: "ringpark", fd, %error, "a relay copies: no splice");
                return Ok(Left::Refused);
            }
        }
    }
    Ok(Left::Quiet)
}

/// The side that is written to.
struct Splicing<'a> {
    index: usize,
    to: &'a Rc<IoHandle>,
    shared: &'a Shared,
}

impl Splicing<'_> {
    /// Writes what was received before splicing began.
    async fn carry_lease(&self, lease: Lease) -> io::Result<()> {
        let len = lease.len() as u64;
        self.shared.note_received(len);
        self.to.core.relayed.copied.add(len);
        let result = send::write_all(self.to, lease, Send::all).await.0;
        self.shared.note_result(self.index, len, &result);
        result
    }

    /// Writes what is in a pipe, which is not more than the limit leaves.
    async fn carry_pipe(&self, mut pipe: PooledPipe) -> io::Result<()> {
        let len = pipe.len() as u64;
        self.shared.note_received(len);
        self.to.core.relayed.spliced.add(len);
        let mut permit = permit(self.to, Interest::Writable).await?;
        while pipe.len() > 0 {
            let op = SpliceOut::new(permit, pipe);
            let result;
            (result, pipe, permit) = perform(self.to, Interest::Writable, op).await;
            self.shared.note_written(self.index, result? as u64);
        }
        Ok(())
    }
}
