//! What it costs to be woken from a sleep, measured on the machine at hand: some 30 µs in one virtual
//! machine, five in another.
//!
//! It is the time for which looking for work pays: a core that looks for as long as being woken costs,
//! and sleeps then, loses at most as much again as it would have by sleeping at once, and saves it
//! whenever work comes sooner.
//!
//! A wait whose time runs out is late by that cost, as far as the kernel does not delay it on purpose.
//! So when the first core of a process starts that may look for work, its thread waits a few times
//! for a moment, alone, before there is any traffic: nothing is measured later, when a late wait may
//! mean that the processor was busy.

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use crate::sys;
use crate::timer::clock;

/// What stands for the cost where it cannot be measured.
const UNKNOWN: Duration = Duration::from_micros(50);

/// What is believed: less is hardly the time of a look, and more is the work of others.
const BELIEVED: RangeInclusive<Duration> = Duration::from_micros(5)..=Duration::from_micros(100);

/// A wait that is measured: long enough for the processor to fall asleep.
const WAIT: Duration = Duration::from_micros(20);

/// Waits that are measured, at most.
const WAITS: usize = 5;

/// With fewer than these the middle one may be an accident.
const ENOUGH: usize = 3;

/// After so long in all no wait is begun any more: a start is not to take noticeably longer for this.
const PATIENCE: Duration = Duration::from_micros(200);

/// The cost, within what is believed. It is measured once in a process.
pub(super) fn cost() -> Duration {
    static COST: OnceLock<Duration> = OnceLock::new();
    if let Some(cost) = COST.get() {
        return *cost;
    }
    let measured = sys::punctually(|| measure(wait)).ok().flatten();
    let spin = believed(measured);
    // Two threads that come here at once measure both, and agree on the first.
    let spin = *COST.get_or_init(|| spin);
    tracing::debug!(target: "ringpark", ?measured, ?spin, "what a wake-up costs");
    spin
}

fn believed(measured: Option<Duration>) -> Duration {
    measured.map_or(UNKNOWN, |cost| cost.clamp(*BELIEVED.start(), *BELIEVED.end()))
}

/// Waits once: how long that took.
fn wait() -> Duration {
    let start = clock::now();
    // An error cuts the wait short, which is seen.
    drop(sys::ppoll(&mut [], Some(WAIT)));
    clock::since(start)
}

/// The median of how late some waits end; `None` if too few of them fit into the time that there
/// is, or one has been cut short.
fn measure(mut wait: impl FnMut() -> Duration) -> Option<Duration> {
    let mut late = Vec::with_capacity(WAITS);
    let mut total = Duration::ZERO;
    while late.len() < WAITS && total < PATIENCE {
        let took = wait();
        late.push(took.checked_sub(WAIT)?);
        total += took;
    }
    late.sort_unstable();
    (late.len() >= ENOUGH).then(|| late[late.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// What comes of waits that are late by so many microseconds, and how many were made.
    fn of(late: &[u64]) -> (Option<Duration>, usize) {
        let mut waits = late.iter();
        let cost = measure(|| WAIT + micros(*waits.next().expect("no more waits than needed")));
        (cost, late.len() - waits.len())
    }

    #[test]
    fn the_cost_is_the_middle_one_of_a_few_waits() {
        assert_eq!(of(&[6, 5, 90, 5, 4, 1000]), (Some(micros(5)), 5));
        assert_eq!(of(&[0; 6]), (Some(micros(0)), 5));
    }

    #[test]
    fn a_dear_machine_is_measured_by_fewer_waits() {
        assert_eq!(of(&[31, 30, 35, 32, 1000]), (Some(micros(32)), 4));
        assert_eq!(of(&[60, 70, 80, 1000]), (Some(micros(70)), 3));
    }

    #[test]
    fn one_long_wait_is_no_measure() {
        assert_eq!(of(&[4000, 5]), (None, 1));
        assert_eq!(of(&[120, 120, 120]), (None, 2));
    }

    #[test]
    fn a_wait_that_is_cut_short_is_no_measure() {
        assert_eq!(measure(|| Duration::ZERO), None);
        let mut waits = [25, 3, 25].into_iter();
        assert_eq!(measure(|| micros(waits.next().expect("one"))), None);
    }

    #[test]
    fn what_cannot_be_believed_is_not() {
        assert_eq!(believed(None), UNKNOWN);
        assert_eq!(believed(Some(micros(0))), micros(5));
        assert_eq!(believed(Some(micros(30))), micros(30));
        assert_eq!(believed(Some(micros(4000))), micros(100));
    }

    #[test]
    fn it_is_measured_once() {
        let first = cost();
        assert!(BELIEVED.contains(&first));
        assert_eq!(cost(), first);
    }
}
