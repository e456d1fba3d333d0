//! The graceful end of a server, as every core sees it: one stage that only goes forward.
//!
//! ```text
//!   Running ── stop() ──▶ Stopping ── grace over, or cut() ──▶ Cut
//!   accept and serve      accept nobody, let connections       end what is
//!                         finish                               still open
//! ```
//!
//! Connections live on many cores and nobody polls: a task that must notice the end waits for a stage
//! with [`Shutdown::run_until`], which leaves its waker here. An entry belongs to the future that made
//! it and leaves with that future; a wake only reads it, so a key can never name somebody else's
//! entry.

use std::fmt;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::runtime::{spawn, JoinHandle};
use crate::time::timeout;

/// How far the end of a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Stage {
    /// Connections are accepted and served.
    Running = 0,
    /// No new connections; those that are open may finish.
    Stopping = 1,
    /// Whatever is still open ends now.
    Cut = 2,
}

/// How long connections that are cut may take to notice it.
const CUT_BOUND: Duration = Duration::from_secs(5);

/// The end of a server: tells its tasks when to stop accepting and when to end, and counts what is
/// open. Clones are the same end; they can be sent to any thread.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use std::time::Duration;
/// use ringpark::shutdown::{Shutdown, Stage};
/// use ringpark::net::TcpListener;
///
/// let shutdown = Shutdown::new();
/// let ender = shutdown.clone();
/// ringpark::spawn(async move {
///     // Or ringpark::signal::ctrl_c().await
///     ringpark::time::sleep(Duration::from_millis(10)).await;
///     ender.stop();
/// });
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// while let Some(accepted) = shutdown.run_until(Stage::Stopping, listener.accept_stream()).await {
///     let stream = accepted?;
///     shutdown.spawn(async move { stream.write_all("hello\n").await.0 });
/// }
/// listener.close().await?;
/// let report = shutdown.finish(Some(Duration::from_secs(10))).await;
/// println!("{report}");
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// A `Stage`. Written only under the lock, read anywhere.
    stage: AtomicU8,
    table: Mutex<Table>,
}

/// Who waits, and what is open.
#[derive(Debug, Default)]
struct Table {
    waiting: Slab<Waiting>,
    /// Those who wait until nothing is open.
    idle: Vec<Waker>,
    open: usize,
    open_at_stop: usize,
    open_at_cut: usize,
}

#[derive(Debug)]
struct Waiting {
    stage: Stage,
    waker: Waker,
}

/// What became of the connections that were open when the end began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Open when accepting stopped.
    pub open: usize,
    /// Of these, ended because they were cut.
    pub cut: usize,
    /// Of these, still open five seconds after that.
    pub left: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { open, cut, left } = self;
        write!(f, "{open} connections were open at the stop: {} finished, {cut} cut", open - cut)?;
        match left {
            0 => Ok(()),
            left => write!(f, ", of which {left} have not ended"),
        }
    }
}

/// Counts as something open until it is dropped.
#[derive(Debug)]
#[must_use = "it counts for as long as it lives"]
pub struct Guard {
    inner: Arc<Inner>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.inner.lock();
        table.open -= 1;
        let idle = if table.open == 0 { std::mem::take(&mut table.idle) } else { Vec::new() };
        drop(table);
        idle.into_iter().for_each(Waker::wake);
    }
}

impl Shutdown {
    /// A server that runs.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// The stage reached so far.
    pub fn stage(&self) -> Stage {
        self.inner.stage()
    }

    /// No new connections from now on. Says whether the server ran until now.
    pub fn stop(&self) -> bool {
        self.advance(Stage::Stopping)
    }

    /// What is open ends now. Says whether it was not so already.
    pub fn cut(&self) -> bool {
        self.advance(Stage::Cut)
    }

    /// Goes on to `stage` and wakes who waited for it. A stage that has passed stays passed.
    fn advance(&self, stage: Stage) -> bool {
        let wakers: Vec<Waker> = {
            let mut table = self.inner.lock();
            let before = self.stage();
            if stage <= before {
                return false;
            }
            if before == Stage::Running {
                table.open_at_stop = table.open;
            }
            if stage == Stage::Cut {
                table.open_at_cut = table.open;
            }
            self.inner.stage.store(stage as u8, Ordering::Release);
            let reached = table.waiting.iter().filter(|(_, entry)| entry.stage <= stage);
            reached.map(|(_, entry)| entry.waker.clone()).collect()
        };
        // Outside of the lock: a waker may run code of the runtime.
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// Counts one more as open, until the guard is dropped.
    pub fn guard(&self) -> Guard {
        let mut table = self.inner.lock();
        table.open += 1;
        // One that was let in before the stop and is only now taken up.
        if self.stage() >= Stage::Stopping {
            table.open_at_stop += 1;
        }
        if self.stage() == Stage::Cut {
            table.open_at_cut += 1;
        }
        drop(table);
        Guard { inner: self.inner.clone() }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.inner.lock().open
    }

    /// Spawns a task on this core that counts as open until it is done, and whose future is dropped
    /// when the rest is cut: then its output is `None`.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<Option<F::Output>> {
        let (shutdown, guard) = (self.clone(), self.guard());
        spawn(async move {
            let output = shutdown.run_until(Stage::Cut, future).await;
            drop(guard);
            output
        })
    }

    /// Stops, lets what is open finish for at most `grace` (`None`: for as long as it takes), cuts
    /// the rest, and waits until it has gone, for five seconds at most. Another one may cut meanwhile.
    /// Several cores may each do so: they wait for the same, and report the same.
    ///
    /// Dropping the future leaves a server that has stopped.
    pub async fn finish(&self, grace: Option<Duration>) -> Report {
        self.stop();
        let finished = self.run_until(Stage::Cut, self.wait_idle());
        let in_time = match grace {
            None => finished.await.is_some(),
            Some(grace) => matches!(timeout(grace, finished).await, Ok(Some(()))),
        };
        if !in_time {
            self.cut();
            // The report tells what is left.
            let _ = timeout(CUT_BOUND, self.wait_idle()).await;
        }
        let table = self.inner.lock();
        Report { open: table.open_at_stop, cut: table.open_at_cut, left: table.open }
    }

    /// Resolves when nothing is open.
    pub async fn wait_idle(&self) {
        poll_fn(|cx| {
            let mut table = self.inner.lock();
            if table.open == 0 {
                return Poll::Ready(());
            }
            if !table.idle.iter().any(|waker| waker.will_wake(cx.waker())) {
                table.idle.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Drives `work` to its end unless `stage` comes first; then drops it and returns `None`.
    /// Where both are there at once, the work's result wins.
    pub async fn run_until<F: Future>(&self, stage: Stage, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut reached = pin!(Reached { shutdown: self, stage, entry: None });
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => reached.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

impl Inner {
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Stopping,
            _ => Stage::Cut,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code under this lock can leave it half changed, so poison means nothing here.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when the stage is reached.
struct Reached<'a> {
    shutdown: &'a Shutdown,
    stage: Stage,
    /// The entry in `waiting`, and the waker that it holds.
    entry: Option<(usize, Waker)>,
}

impl Future for Reached<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shutdown.stage() >= self.stage {
            return Poll::Ready(());
        }
        if self.entry.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let mut table = self.shutdown.inner.lock();
        // Again, now that nobody can advance: otherwise a stage reached between the check above
        // and the lock would wake nobody.
        if self.shutdown.stage() >= self.stage {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let key = match &self.entry {
            Some((key, _)) => {
                table.waiting[*key].waker = waker.clone();
                *key
            }
            None => table.waiting.insert(Waiting { stage: self.stage, waker: waker.clone() }),
        };
        drop(table);
        self.entry = Some((key, waker));
        Poll::Pending
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.entry.take() {
            let entry = self.shutdown.inner.lock().waiting.remove(key);
            drop(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (counter.clone(), Waker::from(counter))
    }

    #[test]
    fn a_waiter_is_woken_by_its_stage_and_by_no_earlier_one() {
        let shutdown = Shutdown::default();
        let (wakes, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let mut cut = pin!(shutdown.run_until(Stage::Cut, pending::<()>()));
        assert!(cut.as_mut().poll(&mut cx).is_pending());
        shutdown.stop();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        shutdown.cut();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(cut.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn cutting_wakes_those_who_wait_for_stopping_too() {
        let shutdown = Shutdown::default();
        let (wakes, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let mut stop = pin!(shutdown.run_until(Stage::Stopping, pending::<()>()));
        assert!(stop.as_mut().poll(&mut cx).is_pending());
        shutdown.cut();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(stop.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn stages_never_go_back() {
        let shutdown = Shutdown::default();
        shutdown.cut();
        shutdown.stop();
        assert_eq!(shutdown.stage(), Stage::Cut);
    }

    #[test]
    fn a_result_that_is_there_beats_the_stage() {
        let shutdown = Shutdown::default();
        shutdown.cut();
        let mut cx = Context::from_waker(Waker::noop());
        let mut done = pin!(shutdown.run_until(Stage::Stopping, ready(7)));
        assert_eq!(done.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
    }

    #[test]
    fn the_newest_waker_is_the_one_that_is_woken() {
        let shutdown = Shutdown::default();
        let (old_wakes, old) = counter();
        let (new_wakes, new) = counter();
        let mut stop = pin!(shutdown.run_until(Stage::Stopping, pending::<()>()));
        assert!(stop.as_mut().poll(&mut Context::from_waker(&old)).is_pending());
        assert!(stop.as_mut().poll(&mut Context::from_waker(&new)).is_pending());
        shutdown.stop();
        assert_eq!(old_wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(new_wakes.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_open_at_each_stage_is_reported() {
        let shutdown = Shutdown::new();
        let (first, second) = (shutdown.guard(), shutdown.guard());
        assert!(shutdown.stop() && !shutdown.stop());
        // Let in before the stop, taken up after it.
        let third = shutdown.guard();
        drop(first);
        assert!(shutdown.cut() && !shutdown.cut());
        drop((second, third));
        let mut report = pin!(shutdown.finish(Some(Duration::ZERO)));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(report) = report.as_mut().poll(&mut cx) else { panic!("nothing is open") };
        assert_eq!(report, Report { open: 3, cut: 2, left: 0 });
        assert_eq!(report.to_string(), "3 connections were open at the stop: 1 finished, 2 cut");
    }

    #[test]
    fn a_waiter_that_is_dropped_leaves_nothing_behind() {
        let shutdown = Shutdown::default();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut stop = pin!(shutdown.run_until(Stage::Stopping, pending::<()>()));
            assert!(stop.as_mut().poll(&mut cx).is_pending());
            assert_eq!(shutdown.inner.lock().waiting.len(), 1);
        }
        assert!(shutdown.inner.lock().waiting.is_empty());
    }
}
