//! Time: never early, in order, and without a trace when it is dropped.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringpark::time::{interval, interval_at, sleep, sleep_until, timeout, timeout_at};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "W1" => sleeps_end_in_the_order_of_their_times,
    Every: "W1" => a_sleep_is_never_early,
    Every: "W2" => a_sleep_of_nothing_ends_at_once,
    Every: "W2" => an_endless_sleep_is_no_overflow,
    Every: "W3" => a_dropped_sleep_leaves_no_timer,
    Every: "W3" => a_sleep_wakes_whoever_polled_it_last,
    Every: "W4" => an_interval_ticks_at_once_and_then_regularly,
    Every: "W5" => timeouts_nest,
    Every: "W5" => a_result_beats_the_timeout,
    Every: "W5" => a_timeout_of_nothing_gives_one_chance,
    Every: "W5" => elapsed_is_a_timed_out_error,
    Every: "W1" => ten_thousand_timers_fire_once_each,
];

/// Sleeps end in the order of their times, not in that of their starts.
fn sleeps_end_in_the_order_of_their_times(variant: &Variant) {
    variant.run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let now = Instant::now();
        let mut rng = variant.rng();
        let mut times: Vec<u64> = (0..20).map(|number| 5 + number * 3).collect();
        rng.shuffle(&mut times);
        let tasks: Vec<_> = times
            .iter()
            .map(|&time| {
                let order = order.clone();
                ringpark::spawn(async move {
                    sleep_until(now + ms(time)).await;
                    order.borrow_mut().push(time);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert!(order.borrow().is_sorted(), "{:?}", order.borrow());
    });
}

/// Never early, whatever the length.
fn a_sleep_is_never_early(variant: &Variant) {
    variant.run(async {
        let mut rng = variant.rng();
        for _ in 0..30 {
            let wanted = Duration::from_nanos(rng.u64(1..5_000_000));
            let started = Instant::now();
            sleep(wanted).await;
            let taken = started.elapsed();
            assert!(taken >= wanted, "{wanted:?} took only {taken:?}");
        }
        for wanted in [63, 64, 65, 127, 128, 129].map(ms) {
            let started = Instant::now();
            sleep(wanted).await;
            let taken = started.elapsed();
            assert!(taken >= wanted && taken < wanted + PROMPT, "{wanted:?} took {taken:?}");
        }
    });
}

/// No time, or time that has passed.
fn a_sleep_of_nothing_ends_at_once(variant: &Variant) {
    variant.run(async {
        promptly("a sleep", sleep(Duration::ZERO)).await;
        promptly("a sleep", sleep_until(past())).await;
    });
}

/// The longest sleep there is can be started and dropped.
fn an_endless_sleep_is_no_overflow(variant: &Variant) {
    variant.run(async {
        for length in [Duration::MAX, HOUR * 24 * 365 * 1000, HOUR * 24 * 365] {
            let mut endless = pin!(sleep(length));
            start(endless.as_mut()).await;
            sleep(ms(1)).await;
            start(endless.as_mut()).await;
            assert!(timeout(length, async { 7 }).await.is_ok());
        }
    });
}

/// Timers of dropped sleeps are gone at once.
fn a_dropped_sleep_leaves_no_timer(variant: &Variant) {
    variant.run(async {
        let before = ringpark::runtime::metrics().timers;
        for round in 0..100 {
            let mut sleeps: Vec<_> =
                (0..50).map(|number| Box::pin(sleep(ms(1000 + round * 50 + number)))).collect();
            for sleep in &mut sleeps {
                start(sleep.as_mut()).await;
            }
            assert_eq!(ringpark::runtime::metrics().timers, before + 50);
            drop(sleeps);
            assert_eq!(ringpark::runtime::metrics().timers, before);
        }
    });
}

/// A sleep that moved to another task wakes that one.
fn a_sleep_wakes_whoever_polled_it_last(variant: &Variant) {
    variant.run(async {
        let mut moved = Box::pin(sleep(ms(10)));
        start(moved.as_mut()).await;
        let task = ringpark::spawn(moved);
        promptly("the task", task).await.expect("no panic");
    });
}

/// The first tick comes at once, the others a period apart, none early.
fn an_interval_ticks_at_once_and_then_regularly(variant: &Variant) {
    variant.run(async {
        let started = Instant::now();
        let mut ticks = interval(ms(5));
        promptly("the first", ticks.tick()).await;
        for number in 1..=8 {
            promptly("a tick", ticks.tick()).await;
            assert!(started.elapsed() >= ms(5) * number, "tick {number} is early");
        }
        let start_at = Instant::now() + ms(10);
        let mut ticks = interval_at(start_at, ms(1));
        promptly("the first", ticks.tick()).await;
        assert!(Instant::now() >= start_at);
        {
            let mut tick = pin!(ticks.tick());
            // Ready or not, it is dropped.
            let _ = poll_once(tick.as_mut()).await;
        }
        promptly("a tick after a dropped one", ticks.tick()).await;
    });
}

/// The inner one ends first, or the outer one, each with its own.
fn timeouts_nest(variant: &Variant) {
    variant.run(async {
        let forever = std::future::pending::<()>;
        let inner_first = timeout(HOUR, timeout(ms(5), forever())).await;
        assert!(matches!(inner_first, Ok(Err(_))));
        let outer_first = timeout(ms(5), timeout(HOUR, forever())).await;
        assert!(outer_first.is_err());
        let none = timeout(HOUR, timeout(HOUR, async { 7 })).await;
        assert_eq!(none.expect("in time").expect("in time"), 7);
        let at = timeout_at(Instant::now() + ms(5), forever()).await;
        assert!(at.is_err());
        assert_eq!(ringpark::runtime::metrics().timers, 0);
    });
}

/// When both are ready the result counts.
fn a_result_beats_the_timeout(variant: &Variant) {
    variant.run(async {
        for _ in 0..20 {
            let (sender, receiver) = futures_channel::oneshot::channel();
            let mut waiting = pin!(timeout(ms(1), receiver));
            start(waiting.as_mut()).await;
            sender.send(7).expect("it waits");
            // Both are due when it is polled the next time.
            std::thread::sleep(ms(2));
            match poll_once(waiting).await {
                Poll::Ready(result) => assert_eq!(result.expect("not late"), Ok(7)),
                Poll::Pending => panic!("both are ready"),
            }
        }
    });
}

/// What is ready at once is in time, however short that is.
fn a_timeout_of_nothing_gives_one_chance(variant: &Variant) {
    variant.run(async {
        assert_eq!(timeout(Duration::ZERO, async { 7 }).await.expect("it is ready"), 7);
        assert_eq!(timeout_at(past(), async { 7 }).await.expect("it is ready"), 7);
        let late = timeout(Duration::ZERO, std::future::pending::<()>());
        assert!(promptly("a time-out", late).await.is_err());
    });
}

/// Elapsed says what it is, and becomes an I/O error.
fn elapsed_is_a_timed_out_error(variant: &Variant) {
    variant.run(async {
        let elapsed = timeout(ms(1), std::future::pending::<()>()).await.expect_err("never");
        assert!(!elapsed.to_string().is_empty());
        let error = std::io::Error::from(elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

/// Many timers at many times: each fires once, and none is left.
fn ten_thousand_timers_fire_once_each(variant: &Variant) {
    let count = variant.scale(10_000);
    variant.run(async {
        let fired = Rc::new(std::cell::Cell::new(0));
        let mut rng = variant.rng();
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let fired = fired.clone();
                let length = Duration::from_micros(rng.u64(0..300_000));
                ringpark::spawn(async move {
                    let started = Instant::now();
                    sleep(length).await;
                    assert!(started.elapsed() >= length);
                    fired.set(fired.get() + 1);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((fired.get(), ringpark::runtime::metrics().timers), (count, 0));
    });
}
