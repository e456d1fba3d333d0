//! `sleep`: a future that is done when its time has come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::runtime::Core;
use crate::timer::{clock, TimerKey};

/// Waits until `duration` from now has passed.
///
/// Counted from this call, not from the first `await`. A duration too long for the clock is some
/// decades.
///
/// Dropping the future disarms its timer; nothing else happens.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// ringpark::block_on(async {
///     let start = Instant::now();
///     ringpark::time::sleep(Duration::from_millis(5)).await;
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(clock::after(duration))
}

/// Waits until `deadline`. If that has passed, the future is done at once, without giving other
/// tasks a turn.
///
/// Dropping the future disarms its timer; nothing else happens.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, state: State::Unarmed }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It can be made anywhere, but has to be polled inside a runtime (else it panics). It belongs to
/// the core that polls it and cannot be sent to another thread. Once done, it stays done until it
/// is [`reset`](Sleep::reset).
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    state: State,
}

enum State {
    /// Not polled yet, or not since it was reset.
    Unarmed,
    /// In the wheel of this core, which may have ended meanwhile. (The reference is weak: a future
    /// that outlives its runtime must not keep the core's descriptors open.)
    Armed(Weak<Core>, TimerKey),
    /// Done.
    Elapsed,
}

impl Sleep {
    /// When it is done.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed) || clock::has_come(self.deadline)
    }

    /// Moves the deadline, also of one that is done, to before or after the present one.
    ///
    /// A task that is waiting for it now is woken at the new deadline, without polling it anew.
    ///
    /// ```
    /// use ringpark::time::sleep;
    /// use std::time::{Duration, Instant};
    ///
    /// ringpark::block_on(async {
    ///     let mut idle = sleep(Duration::from_secs(60));
    ///     // Something happened, so start over:
    ///     idle.reset(Instant::now() + Duration::from_millis(1));
    ///     idle.await;
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        let State::Armed(core, key) = std::mem::replace(&mut self.state, State::Unarmed) else {
            return;
        };
        let Some(core) = core.upgrade() else {
            return;
        };
        let mut timers = core.timers.borrow_mut();
        if let Some(waker) = timers.remove(key) {
            let ahead = clock::ahead(deadline).unwrap_or_default();
            let key = timers.insert(deadline, ahead, waker);
            self.state = State::Armed(Rc::downgrade(&core), key);
        }
    }

    fn disarm(&mut self) {
        let State::Armed(core, key) = std::mem::replace(&mut self.state, State::Unarmed) else {
            return;
        };
        if let Some(core) = core.upgrade() {
            let waker = core.timers.borrow_mut().remove(key);
            // Dropped only now, when the wheel is free: this may drop a task, and its timers.
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, State::Elapsed) {
            return Poll::Ready(());
        }
        let current = Core::current();
        match &self.state {
            State::Armed(core, key) if core.as_ptr() == Rc::as_ptr(&current) => {
                let mut timers = current.timers.borrow_mut();
                if timers.is_pending(*key) {
                    let old = timers.set_waker(*key, cx.waker());
                    // As in `disarm`.
                    drop(timers);
                    drop(old);
                    return Poll::Pending;
                }
                drop(timers);
                // The wheel has fired it, so its time has come.
                debug_assert!(self.deadline <= clock::now(), "a timer fired early");
                self.state = State::Elapsed;
                return Poll::Ready(());
            }
            // It was moved here from another runtime on this thread.
            State::Armed(..) => self.disarm(),
            State::Unarmed | State::Elapsed => {}
        }
        let Some(ahead) = clock::ahead(self.deadline) else {
            self.state = State::Elapsed;
            return Poll::Ready(());
        };
        let waker = cx.waker().clone();
        let key = current.timers.borrow_mut().insert(self.deadline, ahead, waker);
        self.state = State::Armed(Rc::downgrade(&current), key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("elapsed", &self.is_elapsed())
            .finish()
    }
}

#[cfg(test)]
mod tests;
