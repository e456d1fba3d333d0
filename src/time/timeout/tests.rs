//! Tests of `timeout`.

use super::*;
use crate::block_on;
use crate::time::sleep;
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_result_in_time_is_the_result() {
    block_on(async {
        assert_eq!(timeout(HOUR, ready(1)).await, Ok(1));
        assert_eq!(timeout(HOUR, sleep(MILLI)).await, Ok(()));
    });
}

#[test]
fn a_future_that_takes_too_long_is_given_up_but_never_early() {
    block_on(async {
        let start = Instant::now();
        assert_eq!(timeout(3 * MILLI, pending::<()>()).await, Err(Elapsed(())));
        assert!(start.elapsed() >= 3 * MILLI);
    });
}

#[test]
fn a_result_beats_a_deadline_that_has_passed() {
    block_on(async {
        let past = Instant::now() - MILLI;
        assert_eq!(timeout_at(past, ready(1)).await, Ok(1));
        assert_eq!(timeout_at(past, pending::<()>()).await, Err(Elapsed(())));
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
    });
}

#[test]
fn a_result_that_came_with_the_deadline_beats_it() {
    block_on(async {
        // Both timers fire at one tick: the one within is polled first.
        let deadline = Instant::now() + 2 * MILLI;
        assert_eq!(timeout_at(deadline, super::sleep_until(deadline)).await, Ok(()));
    });
}

#[test]
fn the_duration_counts_from_the_call_not_from_the_first_poll() {
    block_on(async {
        let early = timeout(MILLI, pending::<()>());
        sleep(3 * MILLI).await;
        let polls = Cell::new(0);
        let mut early = std::pin::pin!(early);
        let first = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            early.as_mut().poll(cx)
        });
        assert!(first.await.is_err());
        assert_eq!(polls.get(), 1, "its time was up before it was polled");
    });
}

#[test]
fn the_inner_of_two_time_outs_ends_first() {
    block_on(async {
        let inner_first = timeout(HOUR, timeout(MILLI, pending::<()>())).await;
        assert_eq!(inner_first, Ok(Err(Elapsed(()))));
        let outer_first = timeout(MILLI, timeout(HOUR, pending::<()>())).await;
        assert_eq!(outer_first, Err(Elapsed(())));
    });
}

#[test]
fn the_future_is_dropped_with_the_time_out_not_before() {
    block_on(async {
        let alive = Rc::new(());
        let held = alive.clone();
        let mut waiting = Box::pin(timeout(MILLI, async move {
            let _held = held;
            pending::<()>().await
        }));
        assert!(waiting.as_mut().await.is_err());
        assert_eq!(Rc::strong_count(&alive), 2);
        drop(waiting);
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

#[test]
fn the_future_comes_back_without_its_deadline() {
    block_on(async {
        let within = timeout(Duration::ZERO, ready(1));
        assert_eq!(within.get_ref().clone().await, 1);
        assert_eq!(within.into_inner().await, 1);
    });
}

#[test]
fn elapsed_becomes_an_io_error_that_is_a_time_out() {
    let error = io::Error::from(Elapsed(()));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.get_ref().is_some_and(|inner| inner.is::<Elapsed>()));
    assert_eq!(error.to_string(), "the time was up before it was done");
}
