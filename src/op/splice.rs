//! `splice(2)`: bytes from one socket to another through a pipe of the core.
//!
//! There is no ring form in use: the ring hands every splice to a worker thread, which costs six
//! times the call itself. The call is made by the core, and readiness says when.

use std::io;
use std::rc::Rc;

use super::{Code, Entry, Interest, KeepsOpen, Op, Question, Row, Waits};
use crate::buf::{Pipes, PooledPipe};
use crate::sys::errno;
use crate::sys::fd::RawFd;

/// Bytes from socket to socket, inside the kernel.
///
/// Tried by `pipes_are_pooled_and_one_with_bytes_in_it_is_closed`.
pub(super) const ROW: Row = Row { question: Question::Never, ..Row::new("splice", 30, "5.7") };

/// What became of an attempt to fill a pipe.
pub(crate) enum Spliced {
    /// A pipe with bytes in it.
    Some(PooledPipe),
    /// The end of the stream.
    End,
    /// There is no pipe to be had, or the socket cannot be spliced: the bytes are still there.
    Refused(io::Error),
}

/// How many bytes may be moved still.
pub(crate) trait Quota: 'static {
    /// The number at the time of an attempt.
    fn left(&self) -> u64;
}

/// Moves what a socket has received into a pipe. No pipe is held while it waits. `S` keeps the socket
/// open.
pub(crate) struct SpliceIn<S, Q> {
    socket: S,
    pipes: Rc<Pipes>,
    limit: usize,
    quota: Rc<Q>,
    pipe: Option<PooledPipe>,
    refused: Option<io::Error>,
}

impl<S, Q> SpliceIn<S, Q> {
    /// Moves `limit` bytes at most, or what the quota leaves then.
    pub(crate) fn new(socket: S, pipes: Rc<Pipes>, limit: usize, quota: Rc<Q>) -> SpliceIn<S, Q> {
        SpliceIn { socket, pipes, limit, quota, pipe: None, refused: None }
    }

    /// Notes why nothing can be spliced.
    fn refuse(&mut self, error: io::Error) -> io::Result<u32> {
        self.refused = Some(error);
        Ok(0)
    }
}

/// Errors that say that a descriptor or the system does not splice, and nothing of the stream.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::EINVAL | errno::ENOSYS | errno::EPERM))
}

// SAFETY: there is no entry.
unsafe impl<S: KeepsOpen, Q: Quota> Op for SpliceIn<S, Q> {
    type Output = (io::Result<Spliced>, S);
    const CODE: Code = Code::Splice;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let fd = self.fd();
        let limit = self.quota.left().min(self.limit as u64) as usize;
        if limit == 0 {
            return self.refuse(io::Error::other("the limit is near"));
        }
        let mut pipe = match self.pipes.take() {
            Ok(pipe) => pipe,
            Err(error) => return self.refuse(error),
        };
        match pipe.fill(fd, limit) {
            Ok(count) => {
                self.pipe = Some(pipe);
                Ok(count)
            }
            Err(error) if is_refusal(&error) => self.refuse(error),
            Err(error) => Err(error),
        }
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.limit = clip(self.limit);
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        let spliced = result.map(|_| match (self.refused, self.pipe) {
            (Some(error), _) => Spliced::Refused(error),
            (None, Some(pipe)) if pipe.len() > 0 => Spliced::Some(pipe),
            (None, _) => Spliced::End,
        });
        (spliced, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

/// Moves what is in a pipe to a socket. `S` keeps the socket open.
pub(crate) struct SpliceOut<S> {
    socket: S,
    pipe: PooledPipe,
}

impl<S> SpliceOut<S> {
    pub(crate) fn new(socket: S, pipe: PooledPipe) -> SpliceOut<S> {
        SpliceOut { socket, pipe }
    }
}

// SAFETY: there is no entry.
unsafe impl<S: KeepsOpen> Op for SpliceOut<S> {
    /// How many bytes went out, the pipe with the rest, and what keeps the socket open.
    type Output = (io::Result<usize>, PooledPipe, S);
    const CODE: Code = Code::Splice;

    fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Writable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        let fd = self.fd();
        self.pipe.drain(fd)
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        (result.map(|count| count as usize), self.pipe, self.socket)
    }

    fn discard(self, _result: io::Result<u32>) {}
}
