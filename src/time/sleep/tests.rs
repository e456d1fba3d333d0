//! Tests of `sleep` on a real core. None of them asks that something was fast.

use super::*;
use crate::block_on;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

fn timers() -> usize {
    Core::current().timers.borrow().len()
}

#[test]
fn sleep_is_never_early() {
    block_on(async {
        for nanos in [0, 1, 999_999, 1_000_000, 1_000_001, 2_500_000, 70_000_000] {
            let start = Instant::now();
            sleep(Duration::from_nanos(nanos)).await;
            assert!(start.elapsed().as_nanos() >= u128::from(nanos));
        }
    });
}

#[test]
fn a_deadline_in_the_past_is_done_at_the_first_poll_without_a_timer() {
    block_on(async {
        let mut past = sleep_until(Instant::now());
        assert!(past.is_elapsed());
        assert!(poll(&mut past, Waker::noop()).is_ready());
        assert!(poll(&mut past, Waker::noop()).is_ready(), "it stays done");
        assert_eq!(timers(), 0);
    });
}

#[test]
fn a_timer_is_armed_by_the_first_poll_and_disarmed_by_the_drop() {
    block_on(async {
        let mut long = sleep(HOUR);
        assert_eq!(timers(), 0);
        for _ in 0..3 {
            assert!(poll(&mut long, Waker::noop()).is_pending());
            assert_eq!(timers(), 1);
        }
        assert!(!long.is_elapsed());
        drop(long);
        assert_eq!(timers(), 0);
    });
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    block_on(async {
        let (first, last) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut short = sleep(2 * MILLI);
        assert!(poll(&mut short, &Waker::from(first.clone())).is_pending());
        assert!(poll(&mut short, &Waker::from(last.clone())).is_pending());
        assert_eq!(Arc::strong_count(&first), 1, "the first waker is let go of at once");
        // Ticks fire in order, so when this is done, so is the other.
        sleep_until(short.deadline() + MILLI).await;
        assert_eq!((first.get(), last.get()), (0, 1));
        assert_eq!(timers(), 0, "a fired timer is gone, polled or not");
        assert!(poll(&mut short, Waker::noop()).is_ready());
    });
}

#[test]
fn durations_beyond_the_clock_are_decades() {
    block_on(async {
        let mut longest = sleep(Duration::MAX);
        assert!(longest.deadline() > Instant::now() + 100_000 * HOUR);
        assert!(poll(&mut longest, Waker::noop()).is_pending());
    });
}

#[test]
fn reset_moves_a_waiting_sleep_without_a_poll() {
    block_on(async {
        let count = Arc::<Count>::default();
        let mut sleep = sleep(HOUR);
        assert!(poll(&mut sleep, &Waker::from(count.clone())).is_pending());
        let soon = Instant::now() + 2 * MILLI;
        sleep.reset(soon);
        assert_eq!((sleep.deadline(), timers()), (soon, 1));
        sleep_until(soon + MILLI).await;
        assert_eq!(count.get(), 1);
        assert!(poll(&mut sleep, Waker::noop()).is_ready());
    });
}

#[test]
fn reset_puts_a_deadline_off() {
    block_on(async {
        let count = Arc::<Count>::default();
        let mut sleep = sleep(2 * MILLI);
        let before = sleep.deadline();
        assert!(poll(&mut sleep, &Waker::from(count.clone())).is_pending());
        sleep.reset(before + HOUR);
        sleep_until(before + MILLI).await;
        assert_eq!(count.get(), 0);
        assert!(poll(&mut sleep, Waker::noop()).is_pending());
    });
}

#[test]
fn reset_revives_a_sleep_that_is_done() {
    block_on(async {
        let mut again = sleep(Duration::ZERO);
        poll_fn(|cx| Pin::new(&mut again).poll(cx)).await;
        let later = Instant::now() + 2 * MILLI;
        again.reset(later);
        assert!(poll(&mut again, Waker::noop()).is_pending());
        again.await;
        assert!(Instant::now() >= later);
    });
}

#[test]
fn a_sleep_that_fired_before_its_reset_waits_for_the_new_deadline() {
    block_on(async {
        let mut short = sleep(MILLI);
        assert!(poll(&mut short, Waker::noop()).is_pending());
        sleep_until(short.deadline() + MILLI).await;
        short.reset(Instant::now() + HOUR);
        assert!(poll(&mut short, Waker::noop()).is_pending());
        assert_eq!(timers(), 1);
    });
}

#[test]
fn a_sleep_may_outlive_its_runtime_and_go_on_in_another() {
    let mut sleep = sleep(2 * MILLI);
    block_on(async { assert!(poll(&mut sleep, Waker::noop()).is_pending()) });
    block_on(async {
        assert!(poll(&mut sleep, Waker::noop()).is_pending() == (timers() == 1));
        (&mut sleep).await;
    });
    assert!(sleep.is_elapsed());

    let mut dropped_outside = super::sleep(HOUR);
    block_on(async { assert!(poll(&mut dropped_outside, Waker::noop()).is_pending()) });
    dropped_outside.reset(Instant::now() + 2 * HOUR);
    drop(dropped_outside);
}

#[test]
#[should_panic(expected = "inside a ringpark runtime")]
fn a_sleep_cannot_be_polled_outside_a_runtime() {
    let _ = poll(&mut sleep(HOUR), Waker::noop());
}
