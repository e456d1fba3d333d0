//! The end of the program, as every core sees it: one stage that only goes forward.
//!
//! ```text
//!   Running ──first signal──▶ Stopping ──grace over, or second signal──▶ Cut
//! ```
//!
//! Signals arrive on a thread of their own and connections live on many cores, so nobody polls:
//! a task that must notice the end waits for a stage with [`Shutdown::unless`], which leaves its
//! waker here. An entry belongs to the future that made it and leaves with that future; a wake
//! only reads it, so a key can never name somebody else's entry.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Connections are accepted and served.
    Running = 0,
    /// No new connections; those that are open may finish.
    Stopping = 1,
    /// Whatever is still open ends now.
    Cut = 2,
}

/// The stage, and who waits for a later one.
#[derive(Debug, Default)]
pub struct Shutdown {
    /// A `Stage`. Written only under the lock, read anywhere.
    stage: AtomicU8,
    waiting: Mutex<Slab<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    stage: Stage,
    waker: Waker,
}

impl Shutdown {
    /// The stage reached so far.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Stopping,
            _ => Stage::Cut,
        }
    }

    /// Goes on to `stage` and wakes who waited for it. A stage that has passed stays passed.
    pub fn advance(&self, stage: Stage) {
        let wakers: Vec<Waker> = {
            let waiting = self.lock();
            if stage <= self.stage() {
                return;
            }
            self.stage.store(stage as u8, Ordering::Release);
            let reached = waiting.iter().filter(|(_, entry)| entry.stage <= stage);
            reached.map(|(_, entry)| entry.waker.clone()).collect()
        };
        // Outside of the lock: a waker may run code of the runtime.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drives `work` to its end unless `stage` comes first; then drops it and returns `None`.
    /// Where both are there at once, the work's result wins.
    pub async fn unless<F: Future>(&self, stage: Stage, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut reached = pin!(Reached { shutdown: self, stage, entry: None });
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => reached.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waiting>> {
        // No code under this lock can leave it half changed, so poison means nothing here.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut waiting = self.shutdown.lock();
        // Again, now that nobody can advance: otherwise a stage reached between the check above
        // and the lock would wake nobody.
        if self.shutdown.stage() >= self.stage {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let key = match &self.entry {
            Some((key, _)) => {
                waiting[*key].waker = waker.clone();
                *key
            }
            None => waiting.insert(Waiting { stage: self.stage, waker: waker.clone() }),
        };
        drop(waiting);
        self.entry = Some((key, waker));
        Poll::Pending
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.entry.take() {
            let entry = self.shutdown.lock().remove(key);
            drop(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::atomic::AtomicUsize;
    use std::sync::Arc;
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
        let mut cut = pin!(shutdown.unless(Stage::Cut, pending::<()>()));
        assert!(cut.as_mut().poll(&mut cx).is_pending());
        shutdown.advance(Stage::Stopping);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        shutdown.advance(Stage::Cut);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(cut.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn cutting_wakes_those_who_wait_for_stopping_too() {
        let shutdown = Shutdown::default();
        let (wakes, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let mut stop = pin!(shutdown.unless(Stage::Stopping, pending::<()>()));
        assert!(stop.as_mut().poll(&mut cx).is_pending());
        shutdown.advance(Stage::Cut);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(stop.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn stages_never_go_back() {
        let shutdown = Shutdown::default();
        shutdown.advance(Stage::Cut);
        shutdown.advance(Stage::Stopping);
        assert_eq!(shutdown.stage(), Stage::Cut);
    }

    #[test]
    fn a_result_that_is_there_beats_the_stage() {
        let shutdown = Shutdown::default();
        shutdown.advance(Stage::Cut);
        let mut cx = Context::from_waker(Waker::noop());
        let mut done = pin!(shutdown.unless(Stage::Stopping, ready(7)));
        assert_eq!(done.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
    }

    #[test]
    fn the_newest_waker_is_the_one_that_is_woken() {
        let shutdown = Shutdown::default();
        let (old_wakes, old) = counter();
        let (new_wakes, new) = counter();
        let mut stop = pin!(shutdown.unless(Stage::Stopping, pending::<()>()));
        assert!(stop.as_mut().poll(&mut Context::from_waker(&old)).is_pending());
        assert!(stop.as_mut().poll(&mut Context::from_waker(&new)).is_pending());
        shutdown.advance(Stage::Stopping);
        assert_eq!(old_wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(new_wakes.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_waiter_that_is_dropped_leaves_nothing_behind() {
        let shutdown = Shutdown::default();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut stop = pin!(shutdown.unless(Stage::Stopping, pending::<()>()));
            assert!(stop.as_mut().poll(&mut cx).is_pending());
            assert_eq!(shutdown.lock().len(), 1);
        }
        assert!(shutdown.lock().is_empty());
    }
}
