//! `interval`: ticks at a fixed rate.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use super::{sleep_until, Sleep};
use crate::timer::clock;

/// A tick that comes less than this after its time is not late: the timers' resolution and a busy
/// core would otherwise make [`MissedTickBehavior::Delay`] drift.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Ticks every `period`, for the first time at once.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use ringpark::time::interval;
/// use std::time::Duration;
///
/// ringpark::block_on(async {
///     let mut beat = interval(Duration::from_millis(2));
///     let first = beat.tick().await;
///     let second = beat.tick().await;
///     assert_eq!(second - first, Duration::from_millis(2));
/// });
/// ```
pub fn interval(period: Duration) -> Interval {
    interval_at(clock::now(), period)
}

/// Ticks every `period`, for the first time at `start`.
///
/// # Panics
///
/// If `period` is zero.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::default() }
}

/// What an [`Interval`] does after a tick that was awaited more than 5 ms after its time.
///
/// With a period of 10 s and a pause until 34 s after the tick at 10 s, it ticks:
///
/// | | ticks at |
/// | --- | --- |
/// | `Burst` | 0, 10, then 34, 34 (for 20 and 30), 40, 50 |
/// | `Delay` | 0, 10, then 34, 44, 54 |
/// | `Skip` | 0, 10, then 34, 40, 50 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissedTickBehavior {
    /// Makes up for missed ticks one after the other, without a pause.
    #[default]
    Burst,
    /// Lets the next tick come a whole period after the late one.
    Delay,
    /// Leaves missed ticks out, and keeps to multiples of the period.
    Skip,
}

impl MissedTickBehavior {
    /// When to tick after the tick that was due at `due` and came at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        if late <= TOLERANCE {
            return clock::later(due, period);
        }
        match self {
            MissedTickBehavior::Burst => clock::later(due, period),
            MissedTickBehavior::Delay => clock::later(now, period),
            MissedTickBehavior::Skip => {
                let since_multiple = late.as_nanos() % period.as_nanos();
                let to_next = period.as_nanos() - since_multiple;
                // At most a period, so nanoseconds above u64 (584 years) are far enough anyway.
                clock::later(now, Duration::from_nanos(to_next.try_into().unwrap_or(u64::MAX)))
            }
        }
    }
}

/// Ticks at a fixed rate; made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    /// Until the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick. Returns when it was due, which is not later than now.
    ///
    /// Dropping this future loses no tick: the next call waits for the same one.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Interval::tick) for futures that are written by hand.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        self.sleep.reset(self.missed.next(due, clock::now(), self.period));
        Poll::Ready(due)
    }

    /// The time from one tick to the next.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens after a late tick. [`MissedTickBehavior::Burst`] if not set.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// Lets the next tick come a whole period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(clock::after(self.period));
    }

    /// Lets the next tick come at `at`.
    pub fn reset_at(&mut self, at: Instant) {
        self.sleep.reset(at);
    }
}

#[cfg(test)]
mod tests;
