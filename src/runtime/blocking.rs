//! Helper threads for calls that cannot be made without waiting, such as `getaddrinfo`.
//!
//! One pool serves the whole process. Its threads are started when work has to wait for one, up to
//! a bound; work beyond that waits in a queue. A thread that has had nothing to do for a while
//! leaves, so a program that resolves one name at start-up does not keep a thread for it.
//!
//! Who owns what: the closure goes into the queue and from there to a thread. Its result goes into
//! a [`Handover`] shared with the [`Blocking`] future, where the one who comes second finds the
//! other's traces: the thread a waker to wake, the future a result to take. A future that is
//! dropped early says so there, and the thread drops the result.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// How many helper threads there are at most.
const THREADS_MAX: usize = 8;

/// How long a helper thread stays without work.
const KEEP: Duration = Duration::from_secs(10);

static POOL: Pool = Pool::new(THREADS_MAX, KEEP, start_thread);

/// Runs `work` on a helper thread.
///
/// The work starts when a thread is free for it, whether the future is polled or not. See
/// [`Blocking`] for how it ends.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    POOL.run(work)
}

/// The result of work on a helper thread.
///
/// A panic of the work goes on in the task that awaits it, as if it had made the call itself. An
/// error means that the work was not done, because no helper thread could be started and none was
/// running.
///
/// Dropping this future lets the work go on to its end, and discards what comes out of it.
#[must_use = "the result is lost unless it is awaited"]
pub(crate) struct Blocking<T> {
    handover: Arc<Mutex<Handover<T>>>,
}

/// What became of the work: `Err` of the outer result if it was not started, of the inner one if
/// it panicked.
type Outcome<T> = io::Result<Result<T, Box<dyn Any + Send>>>;

enum Handover<T> {
    /// Not done; the waker of the future, once that has been polled.
    Waiting(Option<Waker>),
    /// The future was dropped.
    Abandoned,
    Done(Outcome<T>),
    /// The future has returned the result.
    Taken,
}

impl<T> Future for Blocking<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        // The old waker is dropped after the lock: that may run any code.
        let _old;
        let mut handover = lock(&self.handover);
        if let Handover::Waiting(waker) = &mut *handover {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                _old = waker.replace(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let outcome = match std::mem::replace(&mut *handover, Handover::Taken) {
            Handover::Done(outcome) => outcome,
            Handover::Taken => panic!("a Blocking was polled after it had returned its result"),
            Handover::Waiting(_) | Handover::Abandoned => unreachable!("this future is alive"),
        };
        drop(handover);
        Poll::Ready(outcome.map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic))))
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        // What was in the handover (a waker, a result) is dropped after the lock.
        let _old = std::mem::replace(&mut *lock(&self.handover), Handover::Abandoned);
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// A closure in the queue, and the handover that its result belongs to.
struct Work<T, F> {
    work: F,
    handover: Arc<Mutex<Handover<T>>>,
}

/// [`Work`] whose type is forgotten.
trait Job: Send {
    /// Does the work. Panics of it are part of its result.
    fn run(self: Box<Self>);

    /// Ends the work without doing it.
    fn refuse(self: Box<Self>, cause: &io::Error);
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Work<T, F> {
    fn run(self: Box<Self>) {
        let Work { work, handover } = *self;
        finish(&handover, Ok(catch_unwind(AssertUnwindSafe(work))));
    }

    fn refuse(self: Box<Self>, cause: &io::Error) {
        // Not the error itself: its kind is mostly `WouldBlock` (EAGAIN), which callers take for
        // "try again when ready".
        let what = format!(
            "no helper thread can be started: {cause}; the limit on processes may be reached \
             (ulimit -u, or pids.max of the control group)"
        );
        finish(&self.handover, Err(io::Error::new(io::ErrorKind::ResourceBusy, what)));
    }
}

fn finish<T>(handover: &Mutex<Handover<T>>, outcome: Outcome<T>) {
    let mut state = lock(handover);
    match &mut *state {
        Handover::Waiting(waker) => {
            let waker = waker.take();
            *state = Handover::Done(outcome);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        Handover::Abandoned => {
            drop(state);
            drop(outcome);
        }
        Handover::Done(_) | Handover::Taken => unreachable!("work that ended twice"),
    }
}

struct Pool {
    threads_max: usize,
    keep: Duration,
    /// Starts a thread that calls [`Pool::serve`]. A field so that tests can make it fail.
    start: fn(&'static Pool) -> io::Result<()>,
    state: Mutex<State>,
    work_came: Condvar,
}

struct State {
    queue: VecDeque<Box<dyn Job>>,
    /// Running threads, those being started included.
    threads: usize,
    /// Threads that wait for work, those included that have been notified but do not run yet.
    idle: usize,
}

impl Pool {
    const fn new(
        threads_max: usize,
        keep: Duration,
        start: fn(&'static Pool) -> io::Result<()>,
    ) -> Pool {
        let state = State { queue: VecDeque::new(), threads: 0, idle: 0 };
        Pool { threads_max, keep, start, state: Mutex::new(state), work_came: Condvar::new() }
    }

    fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Blocking<T> {
        let handover = Arc::new(Mutex::new(Handover::Waiting(None)));
        let job = Box::new(Work { work, handover: handover.clone() });
        let mut state = lock(&self.state);
        state.queue.push_back(job);
        // Each waiting job has an idle thread to its name, or a new one is started for it. (An
        // idle thread that was notified counts as idle until it takes its job from the queue.)
        let waiting = state.queue.len();
        if waiting <= state.idle {
            drop(state);
            self.work_came.notify_one();
        } else if state.threads < self.threads_max {
            state.threads += 1;
            drop(state);
            if let Err(error) = (self.start)(self) {
                self.go_on_without(&error);
            }
        } else {
            drop(state);
            if waiting > self.threads_max && waiting.is_power_of_two() {
                tracing::debug!(target: "ringpark", waiting, "work waits for a helper thread");
            }
        }
        Blocking { handover }
    }

    /// A thread could not be started. If others run, the queue is theirs; else nobody would ever
    /// come for it, and what is in it ends with an error.
    fn go_on_without(&self, error: &io::Error) {
        let mut state = lock(&self.state);
        state.threads -= 1;
        let orphans = match state.threads {
            0 => std::mem::take(&mut state.queue),
            _ => VecDeque::new(),
        };
        drop(state);
        tracing::warn!(target: "ringpark", %error, refused = orphans.len(), "no helper thread");
        orphans.into_iter().for_each(|job| job.refuse(error));
    }

    /// The life of a helper thread: takes work until there has been none for a while.
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                // Panics of the work are results. This is for those of foreign code around it, a
                // waker or the drop of an unwanted result: the thread has to outlive them.
                if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
                    tracing::warn!(target: "ringpark", "a waker or a dropped result panicked");
                }
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (after, wait) = self
                .work_came
                .wait_timeout(state, self.keep)
                .unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

fn start_thread(pool: &'static Pool) -> io::Result<()> {
    let thread = thread::Builder::new().name("ringpark-helper".into());
    thread.spawn(move || pool.serve()).map(drop)
}

/// Locks. The states behind these locks change in one step each, so that a panic (of a waker that
/// is cloned, for instance) leaves none half done, and a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
