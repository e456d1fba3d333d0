//! Methods that many types of descriptors have, each written once. A macro stands in the `impl` of a
//! type that has `fn handle(&self) -> &Rc<IoHandle>`, and is told what such a thing is called: so all
//! methods of a type are its own, and stand in its documentation.
//!
//! | macro | methods |
//! | --- | --- |
//! | `readable_methods` | `readable`, `read_with`, `set_read_deadline` |
//! | `writable_methods` | `writable`, `write_with`, `set_write_deadline` |
//! | `deadline_methods` | `set_deadline`, for what is both |
//! | `close_methods` | `with_fd`, `close` |
//! | `stream_read_methods` | `recv`, `read`, `read_exact`, `peek`: what sockets can do |
//! | `stream_write_methods` | `write`, `write_all`, and those with several buffers, or without a copy |
//! | `shutdown_methods` | `shutdown` of a connection |
//! | `descriptor_read_methods` | `recv`, `read`, `read_exact`, `read_to_end`, by the `descriptor` within |
//! | `descriptor_write_methods` | `write`, `write_all`, by the `descriptor` within |
//! | `descriptor_traits` | `AsRawFd` and `Debug` |
//!
//! Each such type holds a [`User`] of its handle.

use std::io;
use std::rc::Rc;

use crate::handle::{Handle, IoHandle};
use crate::runtime::Core;
use crate::sys;
use crate::sys::fd::{AsRawFd, OwnedFd};

/// One user of a handle. When the last one is dropped, what is in flight on the descriptor ends, and it
/// is closed a moment later.
pub struct User {
    handle: Rc<IoHandle>,
}

impl User {
    /// The first user of a handle.
    pub(crate) fn new(handle: Rc<IoHandle>) -> User {
        User { handle }
    }

    /// Takes over a socket that is nobody else's and does not listen.
    pub(crate) fn take_over(fd: OwnedFd) -> io::Result<User> {
        sys::set_nonblocking(fd.as_raw_fd(), true)?;
        Ok(User { handle: Handle::new(Core::current(), fd) })
    }

    pub(crate) fn handle(&self) -> &Rc<IoHandle> {
        &self.handle
    }

    /// Another user of the same handle.
    pub(crate) fn share(&self) -> User {
        self.handle.add_user();
        User { handle: self.handle.clone() }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.handle.remove_user();
    }
}

/// Waiting until there is something to read.
macro_rules! readable_methods {
    ($what:literal) => {
        /// Waits until there is something to read, or the end. Dropping the future changes nothing.
        ///
        /// # Errors
        /// `TimedOut` after the read deadline; [`Closed`](crate::Closed);
        /// [`NotPollable`](crate::io::NotPollable) where the backend cannot wait for such a descriptor.
        pub fn readable(&self) -> $crate::io::futures::Readiness<'_> {
            let interest = $crate::op::Interest::Readable;
            $crate::handle::ready::ready(self.handle(), interest)
        }

        /// Calls `attempt` with the descriptor, which is non-blocking meanwhile, until it does not
        /// fail with `WouldBlock`; waits in between until there is something to read. The deadline
        /// and closing end the wait; dropping the future does too, and between two calls only.
        /// `attempt` must make its system call without waiting, and may close nothing.
        ///
        /// # Errors
        /// What `attempt` says, those of [`readable`](Self::readable), and one of its own if bytes
        /// have been received ahead of the caller (`recv` does so): they are not to be found in the
        /// descriptor any more.
        pub async fn read_with<R>(
            &self,
            attempt: impl FnMut(crate::sys::fd::BorrowedFd<'_>) -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            let interest = $crate::op::Interest::Readable;
            $crate::handle::ready::with(self.handle(), interest, attempt).await
        }

        #[doc = concat!("When reads of the ", $what, " fail with `TimedOut`; `None` for never. It")]
        /// may be moved while one waits, and one that has passed fails all reads until it is moved.
        pub fn set_read_deadline(&self, at: Option<std::time::Instant>) {
            self.handle().set_deadline($crate::op::Interest::Readable, at);
        }
    };
}

/// Waiting until there is room to write.
macro_rules! writable_methods {
    ($what:literal) => {
        /// Waits until there is room to write, or nobody to read. Dropping the future changes
        /// nothing.
        ///
        /// # Errors
        /// `TimedOut` after the write deadline; [`Closed`](crate::Closed);
        /// [`NotPollable`](crate::io::NotPollable) where the backend cannot wait for such a descriptor.
        pub fn writable(&self) -> $crate::io::futures::Readiness<'_> {
            let interest = $crate::op::Interest::Writable;
            $crate::handle::ready::ready(self.handle(), interest)
        }

        /// Calls `attempt` with the descriptor, which is non-blocking meanwhile, until it does not
        /// fail with `WouldBlock`; waits in between until there is room to write. The deadline and
        /// closing end the wait; dropping the future does too, and between two calls only.
        /// `attempt` must make its system call without waiting, and may close nothing.
        ///
        /// # Errors
        /// What `attempt` says, and those of [`writable`](Self::writable).
        pub async fn write_with<R>(
            &self,
            attempt: impl FnMut(crate::sys::fd::BorrowedFd<'_>) -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            let interest = $crate::op::Interest::Writable;
            $crate::handle::ready::with(self.handle(), interest, attempt).await
        }

        #[doc = concat!("When writes to the ", $what, " fail with `TimedOut`; `None` for never. It")]
        /// may be moved while one waits, and one that has passed fails all writes until it is moved.
        pub fn set_write_deadline(&self, at: Option<std::time::Instant>) {
            self.handle().set_deadline($crate::op::Interest::Writable, at);
        }
    };
}

/// The deadline of what is read and written.
macro_rules! deadline_methods {
    () => {
        /// Sets the deadlines of reads and of writes: see
        /// [`set_read_deadline`](Self::set_read_deadline).
        pub fn set_deadline(&self, at: Option<std::time::Instant>) {
            self.set_read_deadline(at);
            self.set_write_deadline(at);
        }
    };
}

/// The descriptor itself, and its end.
macro_rules! close_methods {
    ($what:literal) => {
        /// Calls `call` with the descriptor, for what has no method here. There is no `AsFd`, since
        /// `close` frees the number by a shared reference, while what `as_fd` has lent would live on.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed).
        pub fn with_fd<R>(
            &self,
            call: impl FnOnce(crate::sys::fd::BorrowedFd<'_>) -> R,
        ) -> std::io::Result<R> {
            self.handle().with_fd(call)
        }

        #[doc = concat!("Closes the ", $what, ". Operations that wait fail with")]
        /// [`Closed`](crate::Closed), and when this returns the descriptor is really closed and its
        /// number free. If the future is dropped before, closing goes on by itself.
        ///
        /// # Errors
        /// [`Closed`](crate::Closed) if it has been closed already; those of close(2).
        pub async fn close(&self) -> std::io::Result<()> {
            $crate::handle::close(self.handle()).await
        }
    };
}

/// Reading the bytes of a connection.
macro_rules! stream_read_methods {
    () => {
        /// The next bytes, wherever the kernel has put them; `None` at the end of the stream. While
        /// nothing arrives no buffer is held. When the core's buffers are all in use this waits
        /// until one comes back. Dropping the future loses nothing.
        ///
        /// # Errors
        /// Those of recv(2), above all `ConnectionReset`; `TimedOut` after the read deadline;
        /// [`Closed`](crate::Closed).
        pub fn recv(&self) -> $crate::io::futures::Recv<'_> {
            $crate::handle::recv::recv(self.handle())
        }

        /// Reads some bytes into the buffer's room; 0 is the end of the stream, unless the buffer
        /// has no room. Dropping the future loses nothing: what arrives is given to the next read.
        ///
        /// # Errors
        /// As for [`recv`](Self::recv).
        pub async fn read<B: $crate::buf::IoBufMut>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<usize, B> {
            $crate::handle::recv::read(self.handle(), buffer, $crate::op::Recv::new).await
        }

        /// Fills the buffer's room, with no other read between. Dropping the future loses what has
        /// been read into the buffer.
        ///
        /// # Errors
        /// `UnexpectedEof` if the stream ends before; those of [`recv`](Self::recv).
        pub async fn read_exact<B: $crate::buf::IoBufMut>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<(), B> {
            $crate::handle::recv::read_exact(self.handle(), buffer, $crate::op::Recv::new).await
        }

        /// Looks at the next bytes, which stay there for the next read.
        ///
        /// # Errors
        /// As for [`recv`](Self::recv).
        pub async fn peek<B: $crate::buf::IoBufMut>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<usize, B> {
            $crate::handle::recv::peek(self.handle(), buffer).await
        }
    };
}

/// Writing the bytes of a connection.
macro_rules! stream_write_methods {
    () => {
        /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
        ///
        /// # Errors
        /// Those of send(2), above all `BrokenPipe` and `ConnectionReset`; `TimedOut` after the
        /// write deadline; [`Closed`](crate::Closed).
        pub async fn write<B: $crate::buf::IoBuf>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<usize, B> {
            $crate::handle::send::write(self.handle(), buffer, $crate::op::Send::some).await
        }

        /// Writes all of the buffer's bytes, with no other write between them. Dropping the future
        /// leaves open how much was written.
        ///
        /// # Errors
        /// As for [`write`](Self::write); [`io::written`](crate::io::written) tells how many bytes
        /// went out before.
        pub fn write_all<B: $crate::buf::IoBuf>(
            &self,
            buffer: B,
        ) -> $crate::io::futures::WriteAll<'_, B> {
            $crate::io::futures::WriteAll::new(self.handle(), buffer)
        }

        /// Writes all of the buffer's bytes out of the memory that they are in, where the kernel
        /// can do that, with no other write between them.
        ///
        /// There are two things to wait for. This future ends when the socket has accepted the
        /// bytes, as that of [`write_all`](Self::write_all) does, and the next write may follow at
        /// once. The [`ZeroCopy`](crate::buf::ZeroCopy) that it yields ends when the kernel has let
        /// go of the memory: when the peer has acknowledged the bytes, a round trip later at best.
        /// It gives the buffer back, with a [`Usage`](crate::buf::Usage) that says whether the
        /// bytes were copied all the same.
        ///
        /// ```
        /// # use std::io;
        /// # fn main() -> io::Result<()> { ringpark::block_on(async {
        /// # use ringpark::net::{TcpListener, TcpStream};
        /// use ringpark::buf::Usage;
        /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
        /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
        /// # let (peer, _) = listener.accept().await?;
        /// let mut chunk = vec![7; 64 << 10];
        /// let (result, lent) = stream.write_all_zero_copy(chunk).await;
        /// result?;
        /// // The next bytes need not wait for the buffer of the last.
        /// stream.write_all("done").await.0?;
        /// # peer.read_exact(Vec::with_capacity((64 << 10) + 4)).await.0?;
        /// let usage;
        /// (chunk, usage) = lent.await;
        /// if usage == Usage::Copied {
        ///     println!("{} bytes: write_all is better on this way", chunk.len());
        /// }
        /// # Ok(()) }) }
        /// ```
        ///
        /// # When it pays
        /// On a real network interface, from about 3 to 16 KiB a write on: locking pages and the
        /// second answer cost what copying so much does. Over loopback the kernel always copies, as
        /// it does over veth and tap interfaces, and does it later than an ordinary send would;
        /// `ringpark probe --route` tells of a way. So measure, and ask the first writes of a
        /// connection for their `Usage`.
        ///
        /// The pages are charged to the locked memory of the user (`RLIMIT_MEMLOCK`) while they are
        /// lent.
        ///
        /// # Kernels
        /// It takes `IORING_OP_SEND_ZC` (Linux 6.0; the report came with 6.2, before which the
        /// usage is `Unknown`): see io_uring_enter(2) and io_uring_prep_send_zc(3). Elsewhere, on
        /// sockets of kinds that cannot do it (Unix sockets), when too little memory may be locked,
        /// and without [`Feature::ZeroCopy`](crate::runtime::Feature::ZeroCopy), this is an
        /// ordinary send, whose buffer is back at once, with `Copied`.
        ///
        /// # Dropping
        /// Dropping the future leaves open how much was written, as everywhere; dropping the
        /// `ZeroCopy` changes nothing about what is sent. In either case the buffer stays with the
        /// runtime until the kernel has let go of it, and is freed then. It counts as an operation
        /// in flight for so long.
        ///
        /// # Errors
        /// As for [`write_all`](Self::write_all). The buffer comes back after an error too.
        pub async fn write_all_zero_copy<B: $crate::buf::IoBuf>(
            &self,
            buffer: B,
        ) -> (std::io::Result<()>, $crate::buf::ZeroCopy<B>) {
            $crate::handle::zero_copy::write_all(self.handle(), buffer).await
        }

        /// Writes some of the bytes of several buffers, in order, as one operation.
        ///
        /// # Errors
        /// As for [`write`](Self::write).
        pub async fn write_vectored<B: $crate::buf::IoBuf>(
            &self,
            buffers: Vec<B>,
        ) -> $crate::buf::BufResult<usize, Vec<B>> {
            $crate::handle::send::write_vectored(self.handle(), buffers).await
        }

        /// Writes all of the bytes of several buffers, in order, with no other write between them.
        ///
        /// # Errors
        /// As for [`write_all`](Self::write_all).
        pub async fn write_vectored_all<B: $crate::buf::IoBuf>(
            &self,
            buffers: Vec<B>,
        ) -> $crate::buf::BufResult<(), Vec<B>> {
            $crate::handle::send::write_vectored_all(self.handle(), buffers).await
        }
    };
}

/// Ending a connection, or half of it.
macro_rules! shutdown_methods {
    () => {
        /// Shuts one or both halves down. After `Write` the other side finds the end of the stream,
        /// and may go on sending.
        ///
        /// # Errors
        /// Those of shutdown(2); [`Closed`](crate::Closed).
        pub async fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
            $crate::handle::send::shutdown(self.handle(), how)?.await
        }
    };
}

/// Reading from a descriptor.
macro_rules! descriptor_read_methods {
    () => {
        /// The next bytes; `None` at the end. While nothing arrives no buffer is held, unless the
        /// descriptor is one that cannot be waited for. Dropping the future loses nothing.
        ///
        /// # Errors
        /// As for [`read`](Self::read).
        pub async fn recv(&self) -> std::io::Result<Option<$crate::buf::Lease>> {
            self.descriptor.recv().await
        }

        /// Reads some bytes into the buffer's room; 0 is the end, unless the buffer has no room.
        /// Dropping the future loses nothing: what arrives is given to the next read.
        ///
        /// # Errors
        /// Those of read(2); `TimedOut` after the read deadline; [`Closed`](crate::Closed).
        pub async fn read<B: $crate::buf::IoBufMut>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<usize, B> {
            self.descriptor.read(buffer).await
        }

        /// Fills the buffer's room. Dropping the future loses what has been read into the buffer.
        ///
        /// # Errors
        /// `UnexpectedEof` if the end comes before; those of [`read`](Self::read).
        pub async fn read_exact<B: $crate::buf::IoBufMut>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<(), B> {
            self.descriptor.read_exact(buffer).await
        }

        /// Reads all there is, behind what is in the vector: how many bytes. Dropping the future
        /// loses what has been read.
        ///
        /// # Errors
        /// Those of [`read`](Self::read); what was read before is in the vector.
        pub async fn read_to_end(&self, buffer: Vec<u8>) -> $crate::buf::BufResult<usize, Vec<u8>> {
            self.descriptor.read_to_end(buffer).await
        }
    };
}

/// Writing to a descriptor.
macro_rules! descriptor_write_methods {
    () => {
        /// Writes some of the buffer's bytes. Dropping the future may have written some, or none.
        ///
        /// # Errors
        /// Those of write(2), above all `BrokenPipe` when nobody can read (and no SIGPIPE, unless
        /// the program has given it back its power); `TimedOut` after the write deadline;
        /// [`Closed`](crate::Closed).
        pub async fn write<B: $crate::buf::IoBuf>(
            &self,
            buffer: B,
        ) -> $crate::buf::BufResult<usize, B> {
            self.descriptor.write(buffer).await
        }

        /// Writes all of the buffer's bytes. Dropping the future leaves open how much was written.
        ///
        /// # Errors
        /// As for [`write`](Self::write); [`io::written`](crate::io::written) tells how many went
        /// out.
        pub fn write_all<B: $crate::buf::IoBuf>(
            &self,
            buffer: B,
        ) -> $crate::io::futures::DescriptorWriteAll<'_, B> {
            self.descriptor.write_all(buffer)
        }
    };
}

/// The traits of whatever has a descriptor.
macro_rules! descriptor_traits {
    ($type:ident) => {
        impl crate::sys::fd::AsRawFd for $type {
            /// The number; -1 if it has been closed.
            fn as_raw_fd(&self) -> crate::sys::fd::RawFd {
                self.handle().fd()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type)).field("fd", &self.handle().fd()).finish()
            }
        }
    };
}

pub(crate) use close_methods;
pub(crate) use deadline_methods;
pub(crate) use descriptor_read_methods;
pub(crate) use descriptor_traits;
pub(crate) use descriptor_write_methods;
pub(crate) use readable_methods;
pub(crate) use shutdown_methods;
pub(crate) use stream_read_methods;
pub(crate) use stream_write_methods;
pub(crate) use writable_methods;
