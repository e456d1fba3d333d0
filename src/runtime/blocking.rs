//! Helper threads for calls that cannot be made without waiting, such as `getaddrinfo`.
//!
//! One pool serves the whole process. Its threads are started when work has to wait for one, up to
//! a bound; work beyond that waits in a queue. A thread that has had nothing to do for a while
//! leaves, so a program that resolves one name at start-up does not keep a thread for it.
//!
//! Who owns what: the closure goes into the queue and from there to a thread. Its result goes through
//! a `oneshot` to whoever waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{ready, Context, Poll};
use std::thread;
use std::time::Duration;

use super::oneshot::{oneshot, Sender};
use super::remote::RemoteHandle;
use super::task::JoinError;

/// How many helper threads there are at most, unless the builder says otherwise.
const THREADS_MAX: usize = 64;

/// How long a helper thread stays without work.
const KEEP: Duration = Duration::from_secs(10);

static HELPERS: HelperThreads = HelperThreads::new(THREADS_MAX, KEEP, start_thread);

/// Sets how many helper threads there may be from now on.
pub(super) fn set_threads_max(count: usize) {
    HELPERS.threads_max.store(count, Ordering::Relaxed);
}

/// Runs `work` on a helper thread, for what would block the core: a long computation, a call into a
/// library that waits.
///
/// The work starts when a thread is free for it, whether the handle is awaited or not. The threads
/// serve the whole process. They are started when there is work for them, 64 at most unless
/// [`Builder::max_blocking_threads`](crate::Builder::max_blocking_threads) says otherwise; work beyond that
/// waits in a queue. One that has had nothing to do for ten seconds goes. Any thread may call this.
///
/// Dropping the handle lets the work go on; [`abort`](RemoteHandle::abort) takes it out of the queue
/// if it has not started.
///
/// # Errors
/// A panic of the work is the [`JoinError`] of the handle. If no thread can be started and none runs,
/// it [is refused](JoinError::is_refused).
///
/// ```
/// let sum = ringpark::block_on(async {
///     ringpark::spawn_blocking(|| (1..=1_000_000_u64).sum::<u64>()).await
/// });
/// assert_eq!(sum.unwrap(), 500_000_500_000);
/// ```
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> RemoteHandle<T> {
    HELPERS.run(work)
}

/// Runs `work` on a helper thread, for the library's own calls: an error says that the work was not
/// done, and a panic goes on in the task that awaits it, as if it had made the call itself.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    Blocking(HELPERS.run(work))
}

/// The result of [`run`]. Dropping it lets the work go on to its end.
#[must_use = "the result is lost unless it is awaited"]
pub(crate) struct Blocking<T>(RemoteHandle<T>);

impl<T> Future for Blocking<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let outcome = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(outcome.map_err(|error| {
            if error.is_panic() {
                resume_unwind(error.into_panic());
            }
            error.into()
        }))
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// A closure in the queue, and where its result goes.
struct Work<T, F> {
    work: F,
    sender: Sender<T>,
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
        let Work { work, sender } = *self;
        let outcome = if sender.is_stopped() {
            Err(JoinError::cancelled())
        } else {
            catch_unwind(AssertUnwindSafe(work)).map_err(JoinError::panicked)
        };
        sender.send(outcome);
    }

    fn refuse(self: Box<Self>, cause: &io::Error) {
        // Not the error itself: its kind is mostly `WouldBlock` (EAGAIN), which callers take for
        // "try again when ready".
        let what = format!(
            "no helper thread can be started: {cause}; the limit on processes may be reached \
             (ulimit -u, or pids.max of the control group)"
        );
        let error = io::Error::new(io::ErrorKind::ResourceBusy, what);
        self.sender.send(Err(JoinError::refused(error)));
    }
}

struct HelperThreads {
    threads_max: AtomicUsize,
    keep: Duration,
    /// Starts a thread that calls [`HelperThreads::serve`]. A field so that tests can make it fail.
    start: fn(&'static HelperThreads) -> io::Result<()>,
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

impl HelperThreads {
    const fn new(
        threads_max: usize,
        keep: Duration,
        start: fn(&'static HelperThreads) -> io::Result<()>,
    ) -> HelperThreads {
        let state = State { queue: VecDeque::new(), threads: 0, idle: 0 };
        let threads_max = AtomicUsize::new(threads_max);
        HelperThreads {
            threads_max,
            keep,
            start,
            state: Mutex::new(state),
            work_came: Condvar::new(),
        }
    }

    fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RemoteHandle<T> {
        let (sender, receiver) = oneshot();
        let job = Box::new(Work { work, sender });
        let threads_max = self.threads_max.load(Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.queue.push_back(job);
        // Each waiting job has an idle thread to its name, or a new one is started for it. (An
        // idle thread that was notified counts as idle until it takes its job from the queue.)
        let waiting = state.queue.len();
        if waiting <= state.idle {
            drop(state);
            self.work_came.notify_one();
        } else if state.threads < threads_max {
            state.threads += 1;
            drop(state);
            if let Err(error) = (self.start)(self) {
                self.go_on_without(&error);
            }
        } else {
            drop(state);
            if waiting > threads_max && waiting.is_power_of_two() {
                tracing::debug!(target: "ringpark", waiting, "work waits for a helper thread");
            }
        }
        RemoteHandle::new(receiver, None)
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

fn start_thread(pool: &'static HelperThreads) -> io::Result<()> {
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
