//! The futures of methods, by the name of the method: for a struct that holds one, as a hand-written
//! future or a task without a box does.
//!
//! | future | of |
//! | --- | --- |
//! | [`Recv`] | `recv` of a connection |
//! | [`WriteAll`] | `write_all` of a connection |
//! | [`DescriptorWriteAll`] | `write_all` of a pipe, a standard output, a [`Descriptor`](super::Descriptor) |
//! | [`Readiness`] | `readable` and `writable` of whatever has a descriptor |
//!
//! ```
//! use ringpark::io::futures::{Recv, WriteAll};
//!
//! /// An echo that a program polls by itself.
//! enum Echo<'a> {
//!     Receiving(Recv<'a>),
//!     Answering(WriteAll<'a, ringpark::buf::Lease>),
//! }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::buf::{BufResult, IoBuf, Lease};
use crate::handle::send::{self, ToDescriptor, ToSocket};
use crate::handle::IoHandle;
use crate::op::Mode;

pub use crate::handle::ready::Readiness;
pub use crate::handle::recv::Recv;

/// All of a buffer's bytes to a connection: the future of
/// [`TcpStream::write_all`](crate::net::TcpStream::write_all), and of that method of each connection
/// and each write half. Dropping it leaves open how much was written.
#[must_use = "futures do nothing unless awaited"]
pub struct WriteAll<'a, B: IoBuf>(send::WriteAll<'a, B, ToSocket>);

impl<'a, B: IoBuf> WriteAll<'a, B> {
    pub(crate) fn new(handle: &'a Rc<IoHandle>, buffer: B) -> WriteAll<'a, B> {
        WriteAll(send::write_all(handle, buffer, ToSocket))
    }
}

impl<B: IoBuf> Future for WriteAll<'_, B> {
    type Output = BufResult<(), B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(cx)
    }
}

/// All of a buffer's bytes to a descriptor: the future of
/// [`Descriptor::write_all`](super::Descriptor::write_all), and of that method of whatever writes to
/// a pipe or a standard output. Dropping it leaves open how much was written.
#[must_use = "futures do nothing unless awaited"]
pub struct DescriptorWriteAll<'a, B: IoBuf>(send::WriteAll<'a, B, ToDescriptor>);

impl<'a, B: IoBuf> DescriptorWriteAll<'a, B> {
    pub(super) fn new(handle: &'a Rc<IoHandle>, buffer: B, mode: Mode) -> Self {
        DescriptorWriteAll(send::write_all(handle, buffer, ToDescriptor(mode)))
    }
}

impl<B: IoBuf> Future for DescriptorWriteAll<'_, B> {
    type Output = BufResult<(), B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(cx)
    }
}

// They are part of the state of every task that waits for its connection.
const _: () = assert!(size_of::<Recv<'static>>() <= 88);
const _: () = assert!(size_of::<WriteAll<'static, Lease>>() <= 96);
const _: () = assert!(size_of::<DescriptorWriteAll<'static, Lease>>() <= 112);
const _: () = assert!(size_of::<Readiness<'static>>() <= 56);
