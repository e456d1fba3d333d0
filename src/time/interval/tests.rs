//! Tests of `interval`: the plan of ticks by computation, a few real ticks on top.

use super::*;
use crate::block_on;
use std::task::Waker;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The seconds after the start at which it ticks, if the tick at 10 is followed by a pause until
/// 34: the example of the documentation.
fn ticks(behavior: MissedTickBehavior) -> Vec<u64> {
    let start = Instant::now();
    let (mut due, mut now) = (start, start);
    let mut ticks = Vec::new();
    for _ in 0..6 {
        now = now.max(due);
        ticks.push((now - start).as_secs());
        due = behavior.next(due, now, 10 * SECOND);
        if ticks.last() == Some(&10) {
            now = start + 34 * SECOND;
        }
    }
    ticks
}

#[test]
fn missed_ticks_are_made_up_for_or_put_off_or_left_out() {
    assert_eq!(ticks(MissedTickBehavior::Burst), [0, 10, 34, 34, 40, 50]);
    assert_eq!(ticks(MissedTickBehavior::Delay), [0, 10, 34, 44, 54, 64]);
    assert_eq!(ticks(MissedTickBehavior::Skip), [0, 10, 34, 40, 50, 60]);
    assert_eq!(MissedTickBehavior::default(), MissedTickBehavior::Burst);
}

#[test]
fn a_tick_within_the_tolerance_moves_no_later_tick() {
    let due = Instant::now();
    for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip]
    {
        assert_eq!(behavior.next(due, due + TOLERANCE, SECOND), due + SECOND);
    }
}

#[test]
fn skipping_from_an_exact_multiple_goes_to_the_next_one() {
    let due = Instant::now();
    let next = MissedTickBehavior::Skip.next(due, due + 3 * SECOND, SECOND);
    assert_eq!(next, due + 4 * SECOND);
}

#[test]
fn the_longest_periods_do_not_overflow() {
    let due = Instant::now();
    for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip]
    {
        assert!(behavior.next(due, due + SECOND, Duration::MAX) > due + 1_000_000 * SECOND);
    }
}

#[test]
fn the_first_tick_is_at_once_and_the_rest_on_time() {
    block_on(async {
        let mut interval = interval(2 * MILLI);
        let first = interval.tick().await;
        for number in 1..5 {
            let due = interval.tick().await;
            assert_eq!(due, first + number * 2 * MILLI);
            assert!(Instant::now() >= due, "never early");
        }
    });
}

#[test]
fn an_interval_can_start_later() {
    block_on(async {
        let start = Instant::now() + 3 * MILLI;
        assert_eq!(interval_at(start, SECOND).tick().await, start);
        assert!(Instant::now() >= start);
    });
}

#[test]
fn a_dropped_wait_loses_no_tick() {
    block_on(async {
        let mut interval = interval_at(Instant::now() + 1000 * SECOND, SECOND);
        let dropped = std::pin::pin!(interval.tick()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(dropped.is_pending());
        let start = Instant::now() + 2 * MILLI;
        interval.reset_at(start);
        assert_eq!(interval.tick().await, start);
        assert_eq!(interval.sleep.deadline(), start + SECOND);
    });
}

#[test]
fn reset_lets_the_next_tick_come_a_period_from_now() {
    block_on(async {
        let mut interval = interval(5 * MILLI);
        interval.tick().await;
        let before = Instant::now();
        interval.reset();
        assert!(interval.tick().await >= before + 5 * MILLI);

        interval.reset_at(before);
        assert_eq!(interval.tick().await, before);
        assert_eq!(interval.period(), 5 * MILLI);
    });
}

#[test]
#[should_panic(expected = "must not be zero")]
fn a_period_of_zero_is_refused() {
    drop(interval(Duration::ZERO));
}
