//! The path of bulk: from socket to socket through a pipe of the core.

use std::io;
use std::rc::Rc;

use super::path::{Pace, RelayPath};
use super::progress::Progress;
use crate::buf::{Lease, PooledPipe, PIPE_SIZE};
use crate::handle::permit::{acquire, perform};
use crate::handle::send::{self, ToSocket};
use crate::handle::{recv, Chunk, IoHandle};
use crate::op::{Interest, SpliceIn, SpliceOut, Spliced};

/// Why splicing has ended.
pub(super) enum Exit {
    /// The stream has ended.
    End,
    /// There is no bulk any more.
    Quiet,
    /// It cannot be done.
    Refused,
}

/// Whether splicing is allowed, and the limit so far away that no piece can reach beyond it.
pub(super) fn is_possible(from: &IoHandle, progress: &Progress) -> bool {
    progress.left.get() >= PIPE_SIZE as u64 && from.core.capabilities.splices
}

/// Carries pieces through pipes, until there is no more bulk.
pub(super) async fn splice(
    index: usize,
    ends: [&Rc<IoHandle>; 2],
    path: RelayPath,
    progress: Rc<Progress>,
) -> io::Result<Exit> {
    let from = ends[0];
    let way = Splicing { index, to: ends[1], progress: &progress };
    // What a multishot receive has taken before it was stopped goes first.
    while let Some(ahead) = recv::recv_ahead(from).await? {
        if ahead.is_empty() {
            return Ok(Exit::End);
        }
        if ahead.len() as u64 > progress.left.get() {
            // The other way has come near the limit meanwhile.
            from.queue.put_back(Chunk::Lease(ahead));
            return Ok(Exit::Refused);
        }
        way.carry_lease(ahead).await?;
    }
    let mut pace = Pace::of_splices();
    while !pace.is_quiet(path) {
        if !is_possible(from, &progress) {
            return Ok(Exit::Refused);
        }
        let permit = acquire(from, Interest::Readable).await?;
        let op = SpliceIn::new(permit, from.core.pipes.clone(), PIPE_SIZE, progress.clone());
        match perform(from, Interest::Readable, op).await.0? {
            Spliced::Some(pipe) => {
                pace.note(pipe.len());
                way.carry_pipe(pipe).await?;
            }
            Spliced::End => return Ok(Exit::End),
            Spliced::Refused(error) => {
                let fd = from.fd();
                tracing::debug!(target: "ringpark", fd, %error, "a relay copies: no splice");
                return Ok(Exit::Refused);
            }
        }
    }
    Ok(Exit::Quiet)
}

/// The side that is written to.
struct Splicing<'a> {
    index: usize,
    to: &'a Rc<IoHandle>,
    progress: &'a Progress,
}

impl Splicing<'_> {
    /// Writes what was received before splicing began.
    async fn carry_lease(&self, lease: Lease) -> io::Result<()> {
        let len = lease.len() as u64;
        self.progress.note_received(len);
        self.to.core.counters.relayed_copied.add(len);
        let result = send::write_all(self.to, lease, ToSocket).await.0;
        self.progress.note_result(self.index, len, &result);
        result
    }

    /// Writes what is in a pipe, which is not more than the limit leaves.
    async fn carry_pipe(&self, mut pipe: PooledPipe) -> io::Result<()> {
        let len = pipe.len() as u64;
        self.progress.note_received(len);
        self.to.core.counters.relayed_spliced.add(len);
        let mut permit = acquire(self.to, Interest::Writable).await?;
        while pipe.len() > 0 {
            let op = SpliceOut::new(permit, pipe);
            let result;
            (result, pipe, permit) = perform(self.to, Interest::Writable, op).await;
            self.progress.note_written(self.index, result? as u64);
        }
        Ok(())
    }
}
