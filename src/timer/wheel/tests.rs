//! Tests of the wheel: single situations first, then random histories against a naive oracle.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Wake;

const TICK: Duration = Duration::from_nanos(TICK_NS as u64);
const NANO: Duration = Duration::from_nanos(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Writes its number down when it is woken.
struct Numbered {
    number: usize,
    log: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.log.lock().unwrap().push(self.number);
    }
}

/// A wheel whose wakers are numbers.
struct Rig {
    wheel: Wheel,
    start: Instant,
    log: Arc<Mutex<Vec<usize>>>,
}

impl Rig {
    fn new() -> Rig {
        let start = Instant::now();
        Rig { wheel: Wheel::new(start), start, log: Arc::default() }
    }

    fn waker(&self, number: usize) -> Waker {
        Waker::from(Arc::new(Numbered { number, log: self.log.clone() }))
    }

    fn arm(&mut self, after: Duration, number: usize) -> TimerKey {
        let waker = self.waker(number);
        self.wheel.insert(self.start + after, Duration::ZERO, waker)
    }

    /// The numbers that fire when the time is `after` the start.
    fn expire(&mut self, after: Duration) -> Vec<usize> {
        let mut fired = Vec::new();
        self.wheel.expire(self.start + after, &mut fired);
        fired.into_iter().for_each(Waker::wake);
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn next(&self) -> Option<Duration> {
        self.wheel.next().map(|at| at.saturating_duration_since(self.start))
    }
}

#[test]
fn an_empty_wheel_has_nothing_to_say() {
    let mut rig = Rig::new();
    assert_eq!(rig.next(), None);
    assert_eq!(rig.expire(YEAR), []);
    assert_eq!(rig.wheel.len(), 0);
}

#[test]
fn a_deadline_between_ticks_waits_for_the_later_tick() {
    let mut rig = Rig::new();
    rig.arm(2 * TICK + NANO, 1);
    assert_eq!(rig.next(), Some(3 * TICK));
    assert_eq!(rig.expire(3 * TICK - NANO), []);
    assert_eq!(rig.expire(3 * TICK), [1]);
}

#[test]
fn an_exact_deadline_fires_at_its_own_tick() {
    let mut rig = Rig::new();
    rig.arm(2 * TICK, 1);
    assert_eq!(rig.expire(2 * TICK - NANO), []);
    assert_eq!(rig.expire(2 * TICK), [1]);
}

#[test]
fn timers_that_are_far_ahead_share_ticks_and_are_late_by_a_64th_at_most() {
    for millis in [1, 31, 32, 64, 127, 128, 1000, 60_000] {
        let mut rig = Rig::new();
        let ahead = Duration::from_millis(millis);
        let waker = rig.waker(1);
        rig.wheel.insert(rig.start + ahead + NANO, ahead, waker);
        let late = rig.next().unwrap() - ahead;
        assert!(late >= NANO && late <= TICK.max(ahead / 64), "late by {late:?} after {ahead:?}");
    }
    let mut rig = Rig::new();
    for number in 0..1000 {
        let ahead = Duration::from_secs(1) + number as u32 * TICK;
        let waker = rig.waker(number);
        rig.wheel.insert(rig.start + ahead, ahead, waker);
    }
    let mut wakeups = 0;
    let mut fired = 0;
    while let Some(next) = rig.next() {
        let now = rig.expire(next).len();
        (wakeups, fired) = (wakeups + usize::from(now > 0), fired + now);
    }
    assert_eq!(fired, 1000);
    assert_eq!(wakeups, 126);
}

#[test]
fn an_overdue_timer_fires_at_once_even_if_time_stands_still() {
    let mut rig = Rig::new();
    assert_eq!(rig.expire(100 * TICK), []);
    let before_the_wheel = rig.start.checked_sub(TICK).unwrap();
    let waker = rig.waker(1);
    rig.wheel.insert(before_the_wheel, Duration::ZERO, waker);
    rig.arm(50 * TICK, 2);
    rig.arm(100 * TICK, 3);
    assert_eq!(rig.next(), Some(100 * TICK));
    assert_eq!(rig.expire(100 * TICK), [1, 2, 3]);
    assert_eq!(rig.next(), None);
}

#[test]
fn time_that_goes_back_fires_only_what_is_overdue() {
    let mut rig = Rig::new();
    rig.expire(100 * TICK);
    rig.arm(50 * TICK, 1);
    rig.arm(101 * TICK, 2);
    assert_eq!(rig.expire(Duration::ZERO), [1]);
    assert_eq!(rig.expire(101 * TICK), [2]);
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_arming_through_cascades() {
    let mut rig = Rig::new();
    let tick = 5000 * TICK;
    rig.arm(tick, 0);
    rig.arm(tick, 1);
    rig.expire(4999 * TICK);
    rig.arm(tick - NANO, 2);
    rig.arm(tick, 3);
    assert_eq!(rig.expire(tick), [0, 1, 2, 3]);
}

#[test]
fn one_jump_fires_all_levels_in_the_order_of_their_ticks() {
    let mut rig = Rig::new();
    let delays: Vec<Duration> = (0..LEVELS as u32).map(|level| TICK * 64_u32.pow(level)).collect();
    for (number, &delay) in delays.iter().enumerate().rev() {
        rig.arm(delay, number);
    }
    assert_eq!(rig.expire(YEAR), [0, 1, 2, 3, 4, 5]);
    assert_eq!(rig.wheel.len(), 0);
}

#[test]
fn a_lone_distant_timer_needs_no_cascading_wake_ups() {
    let mut rig = Rig::new();
    rig.arm(TICK * 123_456_789, 1);
    assert_eq!(rig.next(), Some(TICK * 123_456_789));
    assert_eq!(rig.expire(TICK * 123_456_788), []);
    assert_eq!(rig.expire(TICK * 123_456_789), [1]);
}

#[test]
fn a_crowded_slot_asks_to_be_cascaded_at_its_first_tick() {
    let mut rig = Rig::new();
    for number in 0..=LOOK_MAX {
        rig.arm(TICK * (100 + number as u32), number);
    }
    assert_eq!(rig.next(), Some(64 * TICK));
    assert_eq!(rig.expire(64 * TICK), []);
    assert_eq!(rig.next(), Some(100 * TICK), "exact, once in level 0");
}

#[test]
fn a_timer_beyond_the_reach_is_placed_again_until_its_time_comes() {
    let mut rig = Rig::new();
    rig.arm(30 * YEAR, 1);
    let mut wake_ups = 0;
    loop {
        let next = rig.next().expect("armed");
        wake_ups += 1;
        let fired = rig.expire(next);
        if next >= 30 * YEAR {
            assert_eq!((next, fired), (30 * YEAR, vec![1]));
            break;
        }
        assert_eq!(fired, []);
    }
    assert!((55..=57).contains(&wake_ups), "{wake_ups} wake-ups of 195 days");
}

#[test]
fn a_later_timer_does_not_hide_behind_one_that_is_out_of_reach() {
    // The distant one waits in the farthest slot of the top level. As the position moves on, a
    // nearer one can be armed behind that slot: the distant one must not set the alarm then.
    let mut rig = Rig::new();
    let slot = TICK * 64_u32.pow(5);
    rig.arm(50 * YEAR, 1);
    rig.expire(slot * 10);
    rig.arm(slot * 70, 2);
    assert!(rig.next().unwrap() < slot * 64);
    assert_eq!(rig.expire(slot * 64), []);
    assert_eq!(rig.next(), Some(slot * 70));
    assert_eq!(rig.expire(slot * 70), [2]);
}

#[test]
fn absurd_instants_neither_overflow_nor_fire() {
    let mut rig = Rig::new();
    let mut step = Duration::MAX;
    let farthest = loop {
        match rig.start.checked_add(step) {
            Some(at) => break at,
            None => step /= 2,
        }
    };
    let waker = rig.waker(1);
    let key = rig.wheel.insert(farthest, YEAR, waker);
    assert!(rig.next().unwrap() > YEAR / 2);
    assert_eq!(rig.expire(1000 * YEAR), []);
    assert!(rig.wheel.is_pending(key));
    assert!(rig.wheel.remove(key).is_some());
    assert_eq!(rig.next(), None);

    // And a clock that arrives there: the wheel's last tick.
    rig.arm(1001 * YEAR, 2);
    let mut fired = Vec::new();
    rig.wheel.expire(farthest, &mut fired);
    assert_eq!(fired.len(), 1);
}

#[test]
fn a_removed_timer_does_not_fire_and_gives_its_waker_back() {
    let mut rig = Rig::new();
    let (first, middle, last) = (rig.arm(TICK, 1), rig.arm(TICK, 2), rig.arm(TICK, 3));
    rig.wheel.remove(middle).expect("armed").wake();
    assert_eq!(*rig.log.lock().unwrap(), [2]);
    rig.log.lock().unwrap().clear();
    assert_eq!(rig.wheel.len(), 2);
    assert!(rig.wheel.is_pending(first) && rig.wheel.is_pending(last));
    assert!(!rig.wheel.is_pending(middle));
    assert_eq!(rig.expire(TICK), [1, 3]);
}

#[test]
fn a_stale_key_is_harmless_even_if_its_entry_is_in_use_again() {
    let mut rig = Rig::new();
    let stale = rig.arm(TICK, 1);
    assert_eq!(rig.expire(TICK), [1]);
    assert!(!rig.wheel.is_pending(stale));
    let key = rig.arm(2 * TICK, 2);
    assert_eq!(key.index, stale.index, "entries are used again");
    assert!(!rig.wheel.is_pending(stale));
    assert!(rig.wheel.remove(stale).is_none());
    let other = rig.waker(3);
    assert!(rig.wheel.set_waker(stale, &other).is_none());
    assert_eq!(rig.expire(2 * TICK), [2]);
    assert!(rig.wheel.remove(key).is_none());
}

#[test]
fn a_replaced_waker_is_handed_back_and_an_equal_one_is_not_cloned() {
    let mut rig = Rig::new();
    let key = rig.arm(TICK, 1);
    let task = Arc::new(Numbered { number: 2, log: rig.log.clone() });
    let waker = Waker::from(task.clone());
    assert!(rig.wheel.set_waker(key, &waker).is_some());
    let clones = Arc::strong_count(&task);
    assert!(rig.wheel.set_waker(key, &waker).is_none());
    assert_eq!(Arc::strong_count(&task), clones);
    assert_eq!(rig.expire(TICK), [2]);
}

#[test]
fn the_steady_state_allocates_no_entries() {
    let mut rig = Rig::new();
    for round in 0..1000_u32 {
        let keys: Vec<_> = (0..10).map(|i| rig.arm(TICK * (round + 1 + i * 500), 0)).collect();
        keys[1..].iter().for_each(|&key| drop(rig.wheel.remove(key).expect("armed")));
        assert_eq!(rig.expire(TICK * (round + 1)).len(), 1);
    }
    assert_eq!(rig.wheel.entries.len(), 10);
}

fn tick_of(time: Duration) -> u64 {
    (time.as_nanos() / TICK.as_nanos()) as u64
}

#[derive(Clone, Debug)]
enum Step {
    /// Arm at this distance from the present time; the sign says whether ahead.
    Arm { ahead: bool, nanos: u64 },
    /// Disarm the timer of this number (modulo those ever armed).
    Remove(usize),
    /// Let this much time pass, then expire.
    Advance(u64),
    /// Go to where `next` says.
    ToNext,
}

/// Durations of all magnitudes, from nanoseconds to the given power of two of them.
fn nanos(bits: u32) -> impl Strategy<Value = u64> {
    (0..=bits, any::<u64>()).prop_map(|(bits, n)| if bits == 0 { 0 } else { n >> (64 - bits) })
}

fn steps(bits: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::bool::weighted(0.95), nanos(bits))
            .prop_map(|(ahead, nanos)| Step::Arm { ahead, nanos }),
        3 => any::<usize>().prop_map(Step::Remove),
        2 => nanos(bits - 2).prop_map(Step::Advance),
        3 => Just(Step::ToNext),
    ];
    prop::collection::vec(step, 1..200)
}

/// Every pending timer, in the order in which they have to fire: by tick, then by arming;
/// those that were overdue when armed come first, as tick 0.
#[derive(Default)]
struct Oracle {
    pending: BTreeMap<(u64, usize), ()>,
    tick_of: Vec<u64>,
}

impl Oracle {
    fn due(&mut self, now_tick: u64) -> Vec<usize> {
        let later = self.pending.split_off(&(now_tick + 1, 0));
        let due = std::mem::replace(&mut self.pending, later);
        due.into_keys().map(|(_, number)| number).collect()
    }
}

fn check(steps: Vec<Step>, within_reach: bool) -> Result<(), TestCaseError> {
    let mut rig = Rig::new();
    let mut oracle = Oracle::default();
    let mut keys = Vec::new();
    let mut now = Duration::ZERO;
    let mut turns_without_firing = 0;
    for step in steps {
        match step {
            Step::Arm { ahead, nanos } => {
                let distance = Duration::from_nanos(nanos);
                let at = if ahead { now + distance } else { now.saturating_sub(distance) };
                let tick = at.as_nanos().div_ceil(TICK.as_nanos()) as u64;
                // The wheel knows the time of the last `expire`, in whole ticks.
                let tick = if tick <= tick_of(now) { 0 } else { tick };
                let number = keys.len();
                keys.push(rig.arm(at, number));
                oracle.pending.insert((tick, number), ());
                oracle.tick_of.push(tick);
            }
            Step::Remove(any) if !keys.is_empty() => {
                let number = any % keys.len();
                let armed = oracle.pending.remove(&(oracle.tick_of[number], number)).is_some();
                prop_assert_eq!(rig.wheel.is_pending(keys[number]), armed);
                prop_assert_eq!(rig.wheel.remove(keys[number]).is_some(), armed);
            }
            Step::Remove(_) => {}
            Step::Advance(_) | Step::ToNext => {
                let earlier = now;
                match step {
                    Step::Advance(nanos) => now += Duration::from_nanos(nanos),
                    _ => now = now.max(rig.next().unwrap_or(now)),
                }
                let mut fired = rig.expire(now);
                let mut due = oracle.due(tick_of(now));
                if !within_reach {
                    // Timers of one tick may be in any order then; ticks must still be.
                    let ticks: Vec<_> = fired.iter().map(|&n| oracle.tick_of[n]).collect();
                    prop_assert!(ticks.is_sorted());
                    fired.sort();
                    due.sort();
                }
                let idle = fired.is_empty() && now > earlier && matches!(step, Step::ToNext);
                turns_without_firing = if idle { turns_without_firing + 1 } else { 0 };
                prop_assert!(!within_reach || turns_without_firing < LEVELS);
                prop_assert_eq!(fired, due);
            }
        }
        prop_assert_eq!(rig.wheel.len(), oracle.pending.len());
        match (rig.next(), oracle.pending.first_key_value()) {
            (None, None) => {}
            (Some(next), Some((&(tick, _), _))) => {
                let now_tick = tick_of(now);
                let tick = tick.max(now_tick);
                let next = tick_of(next);
                prop_assert!(next <= tick, "late: {next} for {tick}");
                let exact = tick >> SLOT_BITS == now_tick >> SLOT_BITS;
                prop_assert!(!exact || next == tick, "not exact: {next} for {tick}");
            }
            (next, first) => prop_assert!(false, "next {next:?} but the oracle has {first:?}"),
        }
    }
    let armed = keys.iter().filter(|&&key| rig.wheel.is_pending(key)).count();
    prop_assert_eq!(armed, oracle.pending.len());
    Ok(())
}

proptest! {
    /// Up to a second: dense histories in the lowest levels.
    #[test]
    fn agrees_with_the_oracle_on_short_timers(steps in steps(30)) {
        check(steps, true)?;
    }

    /// Up to 104 days: every level, every order.
    #[test]
    fn agrees_with_the_oracle_on_all_levels(steps in steps(53)) {
        check(steps, true)?;
    }

    /// Up to 292 years: timers beyond the reach, and a clock that crosses it many times.
    #[test]
    fn agrees_with_the_oracle_beyond_the_reach(steps in steps(63)) {
        check(steps, false)?;
    }
}
