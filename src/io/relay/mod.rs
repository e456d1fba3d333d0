//! Relaying two connections to each other.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Connection;
use crate::handle::{timed_out, IoHandle};
use crate::op::Interest;
use crate::time::sleep_until;
use crate::timer::clock;

mod path;
mod progress;
#[cfg(target_os = "linux")]
mod splicing;
mod way;

pub use path::RelayPath;
use progress::Progress;
use way::Way;

/// Carries bytes both ways between two connections, of any kind, until both ways have ended.
///
/// When one side has sent its last byte (FIN), the other is told so (its writing half is shut down)
/// and its own bytes go on until it ends too. An error on either side, a reset above all, ends both
/// ways. The connections are left open for the caller to close or drop.
///
/// Bulk goes through a pipe inside the kernel, small messages through the core's buffers:
/// [`Relay::path`] can force either. Memory is bounded: each way holds one received piece at a time,
/// and a side that does not read stops the one that sends to it. Deadlines set on the streams hold
/// in here.
///
/// A relay passes on what is there and does not know where a message ends. So TCP connections want
/// `TCP_NODELAY` ([`set_nodelay`](crate::net::TcpStream::set_nodelay); accepted ones have it from
/// their listener): without it the rest of a message that came in two pieces is held back until the
/// first is acknowledged, which may take 40 ms.
///
/// Awaiting gives the bytes carried each way, or a [`RelayError`], which tells them too. Dropping
/// the future stops at once; what had been received and not sent on is lost.
///
/// ```no_run
/// # async fn f(client: ringpark::net::TcpStream, server: ringpark::net::TcpStream) -> std::io::Result<()> {
/// use std::time::Duration;
/// let carried = ringpark::io::relay(&client, &server)
///     .idle_timeout(Duration::from_secs(60))
///     .await?;
/// println!("{} bytes up, {} bytes down", carried.a_to_b, carried.b_to_a);
/// # Ok(()) }
/// ```
pub fn relay<'a>(
    a: &'a (impl Connection + ?Sized),
    b: &'a (impl Connection + ?Sized),
) -> Relay<'a> {
    Relay {
        a: a.user().handle(),
        b: b.user().handle(),
        path: RelayPath::Auto,
        idle_timeout: None,
        timeout: None,
        limit: u64::MAX,
        prefix: Bytes::new(),
        reply_prefix: Bytes::new(),
    }
}

/// A relay before it starts: see [`relay`].
#[must_use = "a relay does nothing unless awaited"]
pub struct Relay<'a> {
    a: &'a Rc<IoHandle>,
    b: &'a Rc<IoHandle>,
    path: RelayPath,
    idle_timeout: Option<Duration>,
    timeout: Option<Duration>,
    limit: u64,
    prefix: Bytes,
    reply_prefix: Bytes,
}

/// The bytes that a relay has written, each way; prefixes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Transferred {
    /// From the first connection to the second.
    pub a_to_b: u64,
    /// From the second connection to the first.
    pub b_to_a: u64,
}

/// Why a relay ended before both ways were done, and what it had carried.
#[derive(Debug)]
pub struct RelayError {
    /// The bytes written each way until then.
    pub transferred: Transferred,
    source: io::Error,
}

impl RelayError {
    /// What kind of error it was: `TimedOut` for a timeout of either kind, `QuotaExceeded` for the
    /// limit.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The error itself.
    pub fn into_source(self) -> io::Error {
        self.source
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transferred { a_to_b, b_to_a } = self.transferred;
        write!(f, "{} (after {a_to_b} bytes one way and {b_to_a} the other)", self.source)
    }
}

impl std::error::Error for RelayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The error itself, without the counts.
impl From<RelayError> for io::Error {
    fn from(error: RelayError) -> io::Error {
        error.source
    }
}

impl<'a> Relay<'a> {
    /// Forces the path that bytes take; [`RelayPath::Auto`] chooses by what it sees.
    /// [`Metrics::relayed_copied`](crate::runtime::Metrics::relayed_copied) and `relayed_spliced` say what was
    /// chosen.
    pub fn path(mut self, path: RelayPath) -> Relay<'a> {
        self.path = path;
        self
    }

    /// Ends the relay when for so long no byte has moved in either direction.
    pub fn idle_timeout(mut self, time: Duration) -> Relay<'a> {
        self.idle_timeout = Some(time);
        self
    }

    /// Ends the relay after so long, whatever happens.
    pub fn timeout(mut self, time: Duration) -> Relay<'a> {
        self.timeout = Some(time);
        self
    }

    /// Ends the relay with `QuotaExceeded` when more than so many bytes would be carried, both
    /// directions and prefixes together. So many are carried, and not one more.
    pub fn limit(mut self, bytes: u64) -> Relay<'a> {
        self.limit = bytes;
        self
    }

    /// Bytes that have been read from the first connection already: they go to the second first.
    pub fn prefix(mut self, bytes: impl Into<Bytes>) -> Relay<'a> {
        self.prefix = bytes.into();
        self
    }

    /// Bytes that go to the first connection before what the second sends.
    pub fn reply_prefix(mut self, bytes: impl Into<Bytes>) -> Relay<'a> {
        self.reply_prefix = bytes.into();
        self
    }
}

/// A stream on which everything that waits is timed out; its deadlines come back at the end.
struct TimedOut<'a> {
    stream: &'a IoHandle,
    deadlines: [(Interest, Option<Instant>); 2],
}

impl<'a> TimedOut<'a> {
    fn new(stream: &'a IoHandle) -> TimedOut<'a> {
        let time_out = |interest| {
            let deadline = stream.deadline(interest);
            stream.set_deadline(interest, Some(clock::now()));
            (interest, deadline)
        };
        TimedOut { stream, deadlines: [Interest::Readable, Interest::Writable].map(time_out) }
    }
}

impl Drop for TimedOut<'_> {
    fn drop(&mut self) {
        for (interest, deadline) in self.deadlines {
            self.stream.set_deadline(interest, deadline);
        }
    }
}

impl fmt::Debug for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Relay<'a> {
    type Output = Result<Transferred, RelayError>;
    type IntoFuture = RelayFuture<'a>;

    fn into_future(self) -> RelayFuture<'a> {
        let Relay { a, b, path, idle_timeout, timeout, limit, prefix, reply_prefix } = self;
        let progress = Rc::new(Progress::new(limit, idle_timeout.is_some()));
        let watch: Option<Watch> = match (timeout, idle_timeout) {
            (None, None) => None,
            _ => Some(Box::pin(watch(progress.clone(), timeout, idle_timeout))),
        };
        let up = Way::new(0, [a, b], path, &progress, &prefix);
        let down = Way::new(1, [b, a], path, &progress, &reply_prefix);
        RelayFuture { ways: [up, down], progress, watch, failed: None }
    }
}

type Watch = Pin<Box<dyn Future<Output = io::Error>>>;

/// The future of a [`relay`].
#[must_use = "futures do nothing unless awaited"]
pub struct RelayFuture<'a> {
    ways: [Way<'a>; 2],
    progress: Rc<Progress>,
    /// The timeouts, if there are any.
    watch: Option<Watch>,
    failed: Option<Box<Failed<'a>>>,
}

/// A relay that has failed, and ends what is under way.
struct Failed<'a> {
    source: io::Error,
    _timed_out: [TimedOut<'a>; 2],
}

impl RelayFuture<'_> {
    /// Polls both ways. Ready when both are done, or one has failed just now.
    fn poll_ways(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for way in &mut self.ways {
            if let Poll::Ready(Err(error)) = Pin::new(way).poll(cx) {
                return Poll::Ready(Err(error));
            }
        }
        if self.ways.iter().all(Way::is_done) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Ready when both ways are done, or something ends the relay before.
    fn poll_well(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.poll_ways(cx) {
            return Poll::Ready(result);
        }
        match &mut self.watch {
            Some(watch) => watch.as_mut().poll(cx).map(Err),
            None => Poll::Pending,
        }
    }

    fn transferred(&self) -> Transferred {
        let [a_to_b, b_to_a] = &self.progress.counts;
        Transferred { a_to_b: a_to_b.get(), b_to_a: b_to_a.get() }
    }
}

impl Future for RelayFuture<'_> {
    type Output = Result<Transferred, RelayError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.failed.is_none() {
            match ready!(this.poll_well(cx)) {
                Ok(()) => return Poll::Ready(Ok(this.transferred())),
                // What is being written is ended, not dropped: what of it went out is counted.
                Err(source) => {
                    let _timed_out =
                        [&this.ways[0], &this.ways[1]].map(|way| TimedOut::new(way.from));
                    this.failed = Some(Box::new(Failed { source, _timed_out }));
                }
            }
        }
        // The first error is the one that is told.
        while ready!(this.poll_ways(cx)).is_err() {}
        let failed = this.failed.take().expect("it has failed");
        Poll::Ready(Err(RelayError { transferred: this.transferred(), source: failed.source }))
    }
}

impl fmt::Debug for RelayFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayFuture").finish_non_exhaustive()
    }
}

/// Ends with the error of the timeout that comes first.
async fn watch(
    progress: Rc<Progress>,
    total: Option<Duration>,
    idle: Option<Duration>,
) -> io::Error {
    // A time beyond what the clock can tell never comes.
    let end = total.and_then(|total| progress.last.get().checked_add(total));
    loop {
        let idle_end = idle.and_then(|idle| progress.last.get().checked_add(idle));
        let Some(at) = [end, idle_end].into_iter().flatten().min() else {
            return std::future::pending().await;
        };
        if at <= clock::now() {
            return timed_out();
        }
        sleep_until(at).await;
    }
}
