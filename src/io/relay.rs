//! Relaying two connections to each other.

use std::cell::Cell;
use std::fmt;
use std::future::{poll_fn, Future, IntoFuture};
use std::io;
use std::net::Shutdown;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{timed_out, written};
use crate::buf::{IoBuf, Lease};
use crate::net::TcpStream;
use crate::op::Interest;
use crate::time::{clock, sleep_until};

/// Carries bytes both ways between two connections until both ways have ended.
///
/// When one side has sent its last byte (FIN), the other is told so (its writing half is shut down)
/// and its own bytes go on until it ends too. An error on either side, a reset above all, ends both
/// ways. The connections are left open for the caller to close or drop.
///
/// Memory is bounded: each way holds one received piece at a time, and a side that does not read
/// stops the one that sends to it. Deadlines set on the streams hold in here.
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
pub fn relay<'a>(a: &'a TcpStream, b: &'a TcpStream) -> Relay<'a> {
    Relay {
        a,
        b,
        idle_timeout: None,
        timeout: None,
        limit: u64::MAX,
        prefix: Bytes::new(),
        reply_prefix: Bytes::new(),
    }
}

/// A relay before it starts: see [`relay`].
#[derive(Debug)]
#[must_use = "a relay does nothing unless awaited"]
pub struct Relay<'a> {
    a: &'a TcpStream,
    b: &'a TcpStream,
    idle_timeout: Option<Duration>,
    timeout: Option<Duration>,
    limit: u64,
    prefix: Bytes,
    reply_prefix: Bytes,
}

/// The bytes that a relay has written, each way; prefixes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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

    async fn run(self) -> Result<Transferred, RelayError> {
        let start = clock::now();
        let watched = self.idle_timeout.is_some();
        let shared = Shared { left: Cell::new(self.limit), watched, last: Cell::new(start) };
        let (up, down) = (Way::new(self.a, self.b, &shared), Way::new(self.b, self.a, &shared));
        let mut ways = [
            Running(Some(Box::pin(up.run(self.prefix)))),
            Running(Some(Box::pin(down.run(self.reply_prefix)))),
        ];
        let mut watch = pin!(watch(&shared.last, start, self.timeout, self.idle_timeout));
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = poll_all(&mut ways, cx) {
                return Poll::Ready(result);
            }
            watch.as_mut().poll(cx).map(Err)
        })
        .await;
        if result.is_err() {
            // What is being written is ended, not dropped: what of it went out is counted.
            let _stopped = (Stopped::new(self.a), Stopped::new(self.b));
            poll_fn(|cx| {
                // The first error is the one that is told.
                while let Poll::Ready(Err(_)) = poll_all(&mut ways, cx) {}
                if ways.iter().all(|way| way.0.is_none()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        drop(ways);
        let transferred = Transferred { a_to_b: up.count.get(), b_to_a: down.count.get() };
        match result {
            Ok(()) => Ok(transferred),
            Err(source) => Err(RelayError { transferred, source }),
        }
    }
}

/// One way, until it is done.
struct Running<'a>(Option<Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>>);

/// Ready when all ways are done, or one has failed.
fn poll_all(ways: &mut [Running<'_>], cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    for way in ways.iter_mut() {
        if let Some(Poll::Ready(result)) = way.0.as_mut().map(|run| run.as_mut().poll(cx)) {
            way.0 = None;
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
    }
    match ways.iter().all(|way| way.0.is_none()) {
        true => Poll::Ready(Ok(())),
        false => Poll::Pending,
    }
}

/// A stream on which everything that waits is timed out; its deadlines come back at the end.
struct Stopped<'a> {
    stream: &'a TcpStream,
    deadlines: [(Interest, Option<Instant>); 2],
}

impl<'a> Stopped<'a> {
    fn new(stream: &'a TcpStream) -> Stopped<'a> {
        let handle = stream.handle();
        let stop = |interest| {
            let deadline = handle.deadline(interest);
            handle.set_deadline(interest, Some(clock::now()));
            (interest, deadline)
        };
        Stopped { stream, deadlines: [Interest::Readable, Interest::Writable].map(stop) }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        for (interest, deadline) in self.deadlines {
            self.stream.handle().set_deadline(interest, deadline);
        }
    }
}

impl<'a> IntoFuture for Relay<'a> {
    type Output = Result<Transferred, RelayError>;
    type IntoFuture = RelayFuture<'a>;

    fn into_future(self) -> RelayFuture<'a> {
        RelayFuture { run: Box::pin(self.run()) }
    }
}

/// The future of a [`relay`].
#[must_use = "futures do nothing unless awaited"]
pub struct RelayFuture<'a> {
    run: Pin<Box<dyn Future<Output = Result<Transferred, RelayError>> + 'a>>,
}

impl Future for RelayFuture<'_> {
    type Output = Result<Transferred, RelayError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl fmt::Debug for RelayFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayFuture").finish_non_exhaustive()
    }
}

/// What both ways share.
struct Shared {
    /// Bytes that may still be carried.
    left: Cell<u64>,
    /// There is an idle timeout.
    watched: bool,
    /// When bytes moved last, if that is watched.
    last: Cell<Instant>,
}

impl Shared {
    fn note_progress(&self) {
        if self.watched {
            self.last.set(clock::now());
        }
    }
}

/// One way of a relay.
struct Way<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    shared: &'a Shared,
    count: Cell<u64>,
}

impl<'a> Way<'a> {
    fn new(from: &'a TcpStream, to: &'a TcpStream, shared: &'a Shared) -> Way<'a> {
        Way { from, to, shared, count: Cell::new(0) }
    }

    async fn run(&self, prefix: Bytes) -> io::Result<()> {
        if !prefix.is_empty() {
            self.carry(prefix, |bytes, len| bytes.truncate(len)).await?;
        }
        while let Some(lease) = self.from.recv().await? {
            self.shared.note_progress();
            // A side that reads slowly must not keep a buffer from the others, if they are scarce.
            let lease = self.from.handle().core.pool.spare(lease);
            self.carry(lease, Lease::truncate).await?;
        }
        match self.to.shutdown(Shutdown::Write).await {
            // It has gone entirely meanwhile; the other way will tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Writes a piece, or what the limit leaves of it.
    async fn carry<B: IoBuf>(
        &self,
        mut piece: B,
        truncate: impl FnOnce(&mut B, usize),
    ) -> io::Result<()> {
        let (len, left) = (piece.bytes_init() as u64, self.shared.left.get());
        let over = len > left;
        if over {
            truncate(&mut piece, left as usize);
        }
        let len = len.min(left);
        self.shared.left.set(left - len);
        match self.to.write_all(piece).await.0 {
            Ok(()) => self.count.set(self.count.get() + len),
            Err(error) => {
                let partly = written(&error).unwrap_or(0);
                self.count.set(self.count.get() + partly as u64);
                return Err(error);
            }
        }
        self.shared.note_progress();
        match over {
            true => Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the limit has been reached")),
            false => Ok(()),
        }
    }
}

/// Ends with the error of the timeout that comes first; never, without timeouts.
async fn watch(
    last: &Cell<Instant>,
    start: Instant,
    total: Option<Duration>,
    idle: Option<Duration>,
) -> io::Error {
    // A time beyond what the clock can tell never comes.
    let end = total.and_then(|total| start.checked_add(total));
    loop {
        let idle_end = idle.and_then(|idle| last.get().checked_add(idle));
        let Some(at) = [end, idle_end].into_iter().flatten().min() else {
            return std::future::pending().await;
        };
        if at <= clock::now() {
            return timed_out();
        }
        sleep_until(at).await;
    }
}
