//! One way of a relay: received from one side, written to the other, by one path or the other.
//!
//! Copying is a state machine written out, since there are two for every connection of a proxy, and
//! each message touches them; splicing is for bulk, and an async block in a box.

use std::future::Future;
use std::io;
use std::net;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::path::{Pace, RelayPath};
use super::progress::Progress;
use crate::buf::Lease;
use crate::handle::recv::{self, Recv};
use crate::handle::send::{self, ToSocket, WriteAll};
use crate::handle::IoHandle;

#[cfg(target_os = "linux")]
use super::splicing::{self, Exit};

/// One way of a relay. As a future it is done when the stream has ended and the other side knows.
pub(super) struct Way<'a> {
    pub(super) from: &'a Rc<IoHandle>,
    to: &'a Rc<IoHandle>,
    progress: Rc<Progress>,
    /// Which of the two ways this is.
    index: usize,
    path: RelayPath,
    pace: Pace,
    stage: Stage<'a>,
}

enum Stage<'a> {
    /// The next lease is awaited.
    Receiving(Recv<'a>),
    /// So many bytes of a lease are being written; with them the limit is reached, or not.
    Writing {
        len: u64,
        is_last: bool,
        write: WriteAll<'a, Lease, ToSocket>,
    },
    /// Bulk is being spliced, until the stream has ended or there is no bulk any more.
    #[cfg(target_os = "linux")]
    Splicing(Pin<Box<dyn Future<Output = io::Result<Exit>> + 'a>>),
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
        progress: &Rc<Progress>,
        prefix: &[u8],
    ) -> Way<'a> {
        let (progress, pace, stage) = (progress.clone(), Pace::of_copies(from), Stage::Done);
        let mut way = Way { from, to, progress, index, path, pace, stage };
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
                    self.progress.note_result(self.index, len, &result);
                    result?;
                    if is_last {
                        return Poll::Ready(Err(over_the_limit()));
                    }
                    self.next()
                }
                #[cfg(target_os = "linux")]
                Stage::Splicing(splice) => match ready!(splice.as_mut().poll(cx))? {
                    Exit::End => self.end()?,
                    Exit::Quiet => self.receive(),
                    Exit::Refused => {
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
        if self.pace.is_bulk(self.path) && splicing::is_possible(self.from, &self.progress) {
            let ends = [self.from, self.to];
            let splice = splicing::splice(self.index, ends, self.path, self.progress.clone());
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
        core.counters.relayed_copied.add(lease.len() as u64);
        // A side that reads slowly must not keep a buffer from the others, if they are scarce.
        self.write(core.pool.to_keep(lease))
    }

    /// Writes a lease, or what the limit leaves of it.
    fn write(&mut self, mut lease: Lease) -> Stage<'a> {
        let (len, left) = (lease.len() as u64, self.progress.left.get());
        let is_last = len > left;
        if is_last {
            lease.truncate(left as usize);
        }
        let len = len.min(left);
        self.progress.note_received(len);
        let write = send::write_all(self.to, lease, ToSocket);
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
