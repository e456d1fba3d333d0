//! The two halves of a connection, for two tasks.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Instant;

use socket2::SockRef;

use super::{SocketStream, TcpStream, UnixStream};
use crate::buf::{IoBuf, IoBufMut, Lease};

/// A connection that has two halves: [`TcpStream`] or [`UnixStream`]. This trait is sealed.
pub trait Split: Deref<Target = SocketStream> + sealed::Sealed {
    /// Another user of the same connection.
    #[doc(hidden)]
    fn share(&self) -> Self;
}

mod sealed {
    pub trait Sealed: Sized {}
    impl Sealed for super::TcpStream {}
    impl Sealed for super::UnixStream {}
}

/// The reading half of a connection; the methods are those of the stream.
#[derive(Debug)]
pub struct OwnedReadHalf<S: Split = TcpStream> {
    stream: S,
}

/// The writing half of a connection; the methods are those of the stream. Dropping it shuts writing
/// down, so that the other side finds the end of the stream.
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
    /// See [`SocketStream::recv`].
    pub async fn recv(&self) -> io::Result<Option<Lease>> {
        self.stream.recv().await
    }

    /// See [`SocketStream::read`].
    pub async fn read<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.stream.read(buffer).await
    }

    /// See [`SocketStream::read_exact`].
    pub async fn read_exact<B: IoBufMut>(&self, buffer: B) -> (io::Result<()>, B) {
        self.stream.read_exact(buffer).await
    }

    /// See [`SocketStream::peek`].
    pub async fn peek<B: IoBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.stream.peek(buffer).await
    }

    /// See [`Pollable::set_read_deadline`](crate::io::Pollable::set_read_deadline).
    pub fn set_read_deadline(&self, at: Option<Instant>) {
        self.stream.set_read_deadline(at);
    }

    /// Puts the halves of one connection together again.
    ///
    /// # Errors
    /// Both halves, if they are of two connections.
    pub fn reunite(self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Rc::ptr_eq(self.stream.handle(), write.stream().handle()) {
            return Err(ReuniteError(self, write));
        }
        drop(write.stream.take());
        Ok(self.stream)
    }
}

impl<S: Split> OwnedWriteHalf<S> {
    fn stream(&self) -> &S {
        self.stream.as_ref().expect("a half has its stream until it is reunited")
    }

    /// See [`SocketStream::write`].
    pub async fn write<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.stream().write(buffer).await
    }

    /// See [`SocketStream::write_all`].
    pub async fn write_all<B: IoBuf>(&self, buffer: B) -> (io::Result<()>, B) {
        self.stream().write_all(buffer).await
    }

    /// See [`SocketStream::write_vectored`].
    pub async fn write_vectored<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        self.stream().write_vectored(buffers).await
    }

    /// See [`SocketStream::write_vectored_all`].
    pub async fn write_vectored_all<B: IoBuf>(&self, buffers: Vec<B>) -> (io::Result<()>, Vec<B>) {
        self.stream().write_vectored_all(buffers).await
    }

    /// Shuts writing down: the other side finds the end of the stream.
    pub async fn shutdown(&self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write).await
    }

    /// See [`Pollable::set_write_deadline`](crate::io::Pollable::set_write_deadline).
    pub fn set_write_deadline(&self, at: Option<Instant>) {
        self.stream().set_write_deadline(at);
    }
}

impl OwnedReadHalf {
    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl OwnedWriteHalf {
    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }
}

impl<S: Split> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        let Some(stream) = &self.stream else { return };
        // A connection that is gone already has nothing to shut down.
        let _ = stream.with_fd(|fd| SockRef::from(&fd).shutdown(Shutdown::Write));
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
