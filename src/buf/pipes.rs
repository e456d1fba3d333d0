//! The pipes of one core, through which bulk relays move bytes inside the kernel.
//!
//! A pipe is taken when there are bytes to move and comes back when it is empty, so that a relay that
//! waits for bytes holds none. One that is dropped with bytes in it, because its relay has ended, is
//! closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use crate::sys::splice::{sigpipe_kills, Pipe};

/// How many bytes a pipe takes, and so one relay at most keeps in the kernel for each way.
pub(crate) const PIPE_SIZE: usize = 1 << 20;

/// How many pipes there may be on a core: each takes two descriptors.
const PIPES_MAX: usize = 256;

/// How many empty ones stay open.
const EMPTY_MAX: usize = 16;

/// A core's pipes.
#[derive(Default)]
pub(crate) struct Pipes {
    empty: RefCell<Vec<Pipe>>,
    /// Pipes that are taken.
    out: Cell<usize>,
}

impl Pipes {
    /// An empty pipe. Fails at the limit of the core or of the process, and where splicing to a
    /// connection that is gone would kill the process.
    pub(crate) fn take(self: &Rc<Self>) -> io::Result<PooledPipe> {
        let empty = self.empty.borrow_mut().pop();
        let pipe = match empty {
            Some(pipe) => pipe,
            None => self.open()?,
        };
        self.out.set(self.out.get() + 1);
        Ok(PooledPipe { pipe: Some(pipe), home: self.clone() })
    }

    fn open(&self) -> io::Result<Pipe> {
        if self.out.get() >= PIPES_MAX {
            return Err(io::Error::other("all pipes of the core are in use"));
        }
        if sigpipe_kills() {
            return Err(io::Error::other("the process does not ignore SIGPIPE"));
        }
        Pipe::new(PIPE_SIZE)
    }

    /// Closes the pipes that nobody uses.
    pub(crate) fn clear(&self) {
        self.empty.borrow_mut().clear();
    }
}

/// A pipe that is taken.
pub(crate) struct PooledPipe {
    /// There is one until it is dropped.
    pipe: Option<Pipe>,
    home: Rc<Pipes>,
}

impl std::ops::Deref for PooledPipe {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("a pipe that is taken is there")
    }
}

impl std::ops::DerefMut for PooledPipe {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("a pipe that is taken is there")
    }
}

impl Drop for PooledPipe {
    fn drop(&mut self) {
        self.home.out.set(self.home.out.get() - 1);
        let pipe = self.pipe.take().expect("a pipe that is taken is there");
        let mut empty = self.home.empty.borrow_mut();
        if pipe.len() == 0 && empty.len() < EMPTY_MAX {
            empty.push(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::AsRawFd;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_empty_pipe_is_pooled_and_one_with_bytes_is_closed() {
        let pipes = Rc::new(Pipes::default());
        drop(pipes.take().unwrap());
        assert_eq!(pipes.empty.borrow().len(), 1);

        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(b"left over").unwrap();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(other.as_raw_fd(), 1 << 16).unwrap(), 9);
        drop(pipe);
        assert_eq!((pipes.empty.borrow().len(), pipes.out.get()), (0, 0));
    }

    #[test]
    fn there_is_a_limit() {
        let pipes = Rc::new(Pipes::default());
        pipes.out.set(PIPES_MAX);
        assert!(pipes.take().is_err());
        pipes.out.set(0);
    }
}
