//! Looking for work for a moment before sleeping: when that pays, and for how long.
//!
//! To sleep and be woken takes tens of microseconds, much more than a small message does. A core that
//! has run dry therefore looks for work for a while, but only if work has lately come soon enough.
//! How soon it comes is learned from both: a look that found something tells it exactly, a sleep tells
//! it too late by the cost of waking up. So while sleeps are not long, one look in a while is made
//! on trial, and what it finds counts more.
//!
//! ```text
//!   work runs out ──▶ dry ── is work near? ──▶ look, at most `max` ──▶ sleep ──▶ work
//!                               │ no, and no trial due                 ▲
//!                               └───────────────────────────────────────┘
//! ```
//!
//! An idle core sleeps once and stays asleep, and one whose work comes seldom never looks. `max` is
//! what a wake-up costs (see `wakeup`), unless the builder says otherwise.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Sleeps up to so many times as long as a look may have been a wake-up for the greater part.
const NEAR: u32 = 16;

/// One in so many dry spells is a trial.
const TRIAL: u32 = 32;

/// A spell of this many times `max` is as good as an endless one.
const FAR: u32 = 64;

/// What a core has learned of its pauses.
pub(super) struct Spin {
    max: Duration,
    /// How long it takes until work comes, on average.
    gap: Cell<Duration>,
    spells: Cell<u32>,
    /// Since when there is no work, and how long to look for some.
    dry: Cell<Option<(Instant, Duration)>>,
}

impl Spin {
    pub(super) fn new(max: Duration) -> Spin {
        Spin { max, gap: Cell::new(max * FAR), spells: Cell::new(0), dry: Cell::new(None) }
    }

    /// There is no work. Until when to look for some before sleeping; `None` to sleep now.
    pub(super) fn until(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        if self.max.is_zero() {
            return None;
        }
        let (since, budget) = self.dry.get().unwrap_or_else(|| {
            let spell = (now(), self.budget());
            self.dry.set(Some(spell));
            spell
        });
        (!budget.is_zero()).then(|| since + budget)
    }

    /// It has looked for as long as was allowed.
    pub(super) fn give_up(&self) {
        if let Some((since, _)) = self.dry.get() {
            self.dry.set(Some((since, Duration::ZERO)));
        }
    }

    /// Work has come.
    pub(super) fn found(&self, now: impl FnOnce() -> Instant) {
        let Some((since, budget)) = self.dry.take() else { return };
        let spell = now().saturating_duration_since(since).min(self.max * FAR);
        let gap = self.gap.get();
        let trusted = !budget.is_zero() && gap > self.max;
        self.gap.set(if trusted { spell } else { (gap * 7 + spell) / 8 });
    }

    fn budget(&self) -> Duration {
        let spells = self.spells.get().wrapping_add(1);
        self.spells.set(spells);
        let gap = self.gap.get();
        let trial = gap <= self.max * NEAR && spells % TRIAL == 0;
        if gap <= self.max || trial {
            self.max
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(50);

    /// Work comes `gap` after the last, and to be woken costs `wake`. Says whether it was waited for
    /// by looking.
    fn spell(spin: &Spin, now: &mut Instant, gap: Duration, wake: Duration) -> bool {
        let looks = spin.until(|| *now).is_some_and(|until| until >= *now + gap);
        if !looks {
            spin.give_up();
            *now += wake;
        }
        *now += gap;
        spin.found(|| *now);
        looks
    }

    fn looks(spin: &Spin, now: &mut Instant, gap: u64, spells: u32) -> u32 {
        let (gap, wake) = (Duration::from_micros(gap), Duration::from_micros(60));
        (0..spells).map(|_| u32::from(spell(spin, now, gap, wake))).sum()
    }

    #[test]
    fn it_learns_that_work_is_near_and_that_it_is_not() {
        let (spin, mut now) = (Spin::new(MAX), Instant::now());
        looks(&spin, &mut now, 20, 200);
        assert_eq!(looks(&spin, &mut now, 20, 100), 100, "work is near: no sleep");
        assert_eq!(looks(&spin, &mut now, 10_000, 100), 0, "work is far");
        assert!(spin.until(|| now).is_none());
        spin.found(|| now);
        looks(&spin, &mut now, 20, 200);
        assert_eq!(looks(&spin, &mut now, 20, 100), 100, "and near again");
    }

    #[test]
    fn where_work_comes_between_it_is_tried_now_and_then() {
        let (spin, mut now) = (Spin::new(MAX), Instant::now());
        let mut tries = 0;
        for _ in 0..3200 {
            tries += u32::from(spin.until(|| now).is_some());
            spin.give_up();
            now += Duration::from_micros(200);
            spin.found(|| now);
        }
        assert!((50..=100).contains(&tries), "{tries}");
    }

    #[test]
    fn it_can_be_switched_off() {
        let (spin, mut now) = (Spin::new(Duration::ZERO), Instant::now());
        assert_eq!(looks(&spin, &mut now, 0, 1000), 0);
    }
}
