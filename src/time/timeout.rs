//! `timeout`: any future, with a deadline.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::{sleep_until, Sleep};
use crate::timer::clock;

/// Waits for `future`, but at most for `duration`, counted from this call.
///
/// When the time is up the future is no longer polled, and is dropped together with the
/// [`Timeout`]. With ringpark's own operations that loses nothing: bytes that arrive for a read
/// that was given up are there for the next one. A result that is there when the time is up
/// beats the time-out.
///
/// For a deadline on all reads or writes of a connection, its `set_read_deadline` and
/// `set_write_deadline` say the same without a wrapper around each call.
///
/// Dropping this future drops `future` and disarms the timer.
///
/// # Errors
///
/// [`Elapsed`] if the time was up first.
///
/// ```
/// use ringpark::time::{sleep, timeout};
/// use std::time::Duration;
///
/// ringpark::block_on(async {
///     let quick = timeout(Duration::from_secs(60), async { 42 });
///     assert_eq!(quick.await, Ok(42));
///
///     let slow = timeout(Duration::from_millis(1), sleep(Duration::from_secs(60)));
///     assert!(slow.await.is_err());
/// });
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(clock::after(duration), future)
}

/// Waits for `future`, but not longer than until `deadline`. Otherwise the same as [`timeout`].
///
/// Even if `deadline` has passed, `future` is polled once, and its result counts if it is there.
///
/// # Errors
///
/// [`Elapsed`] if the deadline came first.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future that is waited for.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future without its deadline.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// The error of [`timeout`]: the time was up before the future was done.
///
/// It becomes an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut), so that `?` works
/// where one is returned, and a time-out looks the same however it was set.
///
/// ```
/// use std::time::Duration;
///
/// async fn wait() -> std::io::Result<()> {
///     ringpark::time::timeout(Duration::from_millis(1), std::future::pending()).await?
/// }
///
/// let error = ringpark::block_on(wait()).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up before it was done")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

#[cfg(test)]
mod tests;
