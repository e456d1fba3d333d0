//! A buffer that the kernel goes on reading after the send has its result, and the future of its
//! return.
//!
//! Whoever may read the memory has a share in the buffer: the future of the write, each send that it
//! is made of, and, from the result of such a send until its notification, the send's slot. When only
//! [`ZeroCopy`] is left, the buffer is the caller's again. If that is dropped before, the last share
//! frees the buffer.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::owned::IoBuf;
use crate::completion::{Loan, Usage};

/// The return of a buffer that was given to
/// [`write_all_zero_copy`](crate::net::TcpStream::write_all_zero_copy): a future that yields the
/// buffer, and what became of its bytes, when the kernel has let go of the memory.
///
/// For bytes that were not copied that is when the peer has acknowledged all of them, or the
/// connection has failed: a peer that does not read holds the memory. No deadline ends this wait, nor
/// does closing the stream hurry it.
///
/// Dropping it leaves the buffer with the runtime, which frees it when the kernel has let go of it. If
/// the runtime ends before, and the peer still has not acknowledged the bytes after half a second, the
/// memory is leaked, and this future never yields it.
#[must_use = "the buffer comes back from this future; drop it to leave the buffer with the runtime"]
pub struct ZeroCopy<B> {
    /// It is there until the buffer has been given back.
    lent: Option<Rc<Lent<B>>>,
}

impl<B> ZeroCopy<B> {
    pub(crate) fn new(lent: Rc<Lent<B>>) -> ZeroCopy<B> {
        ZeroCopy { lent: Some(lent) }
    }
}

impl<B> Future for ZeroCopy<B> {
    type Output = (B, Usage);

    /// # Panics
    /// If it has yielded the buffer already.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let lent = this.lent.take().expect("a buffer is given back once");
        match Rc::try_unwrap(lent) {
            Ok(lent) => {
                let usage = lent.usage.get().unwrap_or(Usage::Unknown);
                Poll::Ready((lent.buffer, usage))
            }
            Err(lent) => {
                drop(lent.waker.replace(Some(cx.waker().clone())));
                this.lent = Some(lent);
                Poll::Pending
            }
        }
    }
}

impl<B> fmt::Debug for ZeroCopy<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroCopy").finish_non_exhaustive()
    }
}

/// A buffer in which several have a share, so that nobody writes to it.
pub(crate) struct Lent<B> {
    buffer: B,
    /// What is known so far: of several sends the worst.
    usage: Cell<Option<Usage>>,
    /// Who waits for the buffer.
    waker: RefCell<Option<Waker>>,
}

impl<B> Lent<B> {
    pub(crate) fn new(buffer: B) -> Rc<Lent<B>> {
        Rc::new(Lent { buffer, usage: Cell::new(None), waker: RefCell::new(None) })
    }

    /// Notes what became of the bytes of one send.
    pub(crate) fn note(&self, usage: Usage) {
        self.usage.set(self.usage.get().max(Some(usage)));
    }
}

impl<B> Loan for Lent<B> {
    fn waiter(&self) -> Option<*const ()> {
        self.waker.borrow().as_ref().map(Waker::data)
    }

    fn returned(&self, usage: Option<Usage>) -> Option<Waker> {
        usage.into_iter().for_each(|usage| self.note(usage));
        self.waker.take()
    }
}

// SAFETY: the buffer promises the same, for as long as it is only moved. It is moved once, into the
// `Rc`, and cannot be used through a mutable reference before that is taken apart, which needs the only
// share.
unsafe impl<B: IoBuf> IoBuf for Rc<Lent<B>> {
    fn stable_ptr(&self) -> *const u8 {
        self.buffer.stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.buffer.bytes_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll<B>(future: Pin<&mut ZeroCopy<B>>) -> Poll<(B, Usage)> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_buffer_comes_back_with_the_last_share() {
        let lent = Lent::new(vec![1, 2, 3]);
        let (one, other) = (lent.clone(), lent.clone());
        let mut returns = pin!(ZeroCopy::new(lent));
        assert!(poll(returns.as_mut()).is_pending());
        assert!(one.returned(Some(Usage::ZeroCopy)).is_some());
        drop(one);
        assert!(poll(returns.as_mut()).is_pending());
        assert!(other.returned(None).is_some());
        assert!(other.waiter().is_none());
        drop(other);
        assert_eq!(poll(returns), Poll::Ready((vec![1, 2, 3], Usage::ZeroCopy)));
    }

    #[test]
    fn the_worst_that_became_of_a_part_is_what_became_of_the_whole() {
        let of = |parts: &[Usage]| {
            let lent = Lent::new(Vec::<u8>::new());
            parts.iter().for_each(|&usage| lent.note(usage));
            match poll(pin!(ZeroCopy::new(lent))) {
                Poll::Ready((_, usage)) => usage,
                Poll::Pending => panic!("nobody else has a share"),
            }
        };
        assert_eq!(of(&[]), Usage::Unknown);
        assert_eq!(of(&[Usage::ZeroCopy, Usage::ZeroCopy]), Usage::ZeroCopy);
        assert_eq!(of(&[Usage::Unknown, Usage::ZeroCopy]), Usage::Unknown);
        assert_eq!(of(&[Usage::ZeroCopy, Usage::Copied, Usage::Unknown]), Usage::Copied);
    }
}
