//! The two halves of a connection, for two tasks.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use super::options;
use super::stream::TcpStream;
use crate::handle::IoHandle;
use crate::io::{methods, Connection};

/// A connection that has two halves: [`TcpStream`] or [`UnixStream`](super::UnixStream). This trait is
/// sealed.
pub trait Split: Connection + Sized {
    /// An address of either side.
    type Addr;

    /// Another user of the same connection.
    #[doc(hidden)]
    fn share(&self) -> Self;

    #[doc(hidden)]
    fn peer_addr(&self) -> io::Result<Self::Addr>;

    #[doc(hidden)]
    fn local_addr(&self) -> io::Result<Self::Addr>;
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct OwnedReadHalf<S: Split = TcpStream> {
    stream: S,
}

/// The writing half of a connection. Dropping it shuts writing down, so that the other side finds the
/// end of the stream.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Split = TcpStream> {
    /// Taken when the halves are put together again.
    stream: Option<S>,
}

pub(super) fn split<S: Split>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let other = stream.share();
    (OwnedReadHalf { stream }, OwnedWriteHalf { stream: Some(other) })
}

impl<S: Split> OwnedReadHalf<S> {
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.stream.user().handle()
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// As for the whole connection.
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream.peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// As for the whole connection.
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream.local_addr()
    }

    /// Puts the halves of one connection together again.
    ///
    /// # Errors
    /// Both halves, if they are of two connections.
    pub fn reunite(self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Rc::ptr_eq(self.handle(), write.handle()) {
            return Err(ReuniteError(self, write));
        }
        drop(write.stream.take());
        Ok(self.stream)
    }

    methods::stream_read_methods!();
    methods::readable_methods!("connection");
}

impl<S: Split> OwnedWriteHalf<S> {
    pub(super) fn stream(&self) -> &S {
        self.stream.as_ref().expect("a half has its stream until it is reunited")
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.stream().user().handle()
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// As for the whole connection.
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.stream().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// As for the whole connection.
    pub fn local_addr(&self) -> io::Result<S::Addr> {
        self.stream().local_addr()
    }

    /// Shuts writing down: the other side finds the end of the stream.
    ///
    /// # Errors
    /// Those of shutdown(2); [`Closed`](crate::Closed).
    pub async fn shutdown(&self) -> io::Result<()> {
        crate::handle::send::shutdown(self.handle(), Shutdown::Write)?.await
    }

    methods::stream_write_methods!();
    methods::writable_methods!("connection");
}

impl<S: Split> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        let Some(stream) = &self.stream else { return };
        // A connection that is gone already has nothing to shut down.
        let _ = options::with(stream.user().handle(), |socket| socket.shut_write());
    }
}

/// Two halves that are not of the same connection. They come back in here.
#[derive(Debug)]
pub struct ReuniteError<S: Split = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Split> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are of two connections")
    }
}

impl<S: Split + fmt::Debug> std::error::Error for ReuniteError<S> {}
