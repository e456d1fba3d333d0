//! The timer churn that every runtime does: thousands of deadlines are set and moved for each one
//! that is ever missed, as a server does that gives each read a time-out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{unfit, Order};
use crate::load::Sample;
use crate::process::{resident_bytes, CpuClock};

/// How many timers are churned between two looks at the clock.
const BATCH: usize = 1024;

/// Arms timers with `sleep` and cancels the oldest for each, within the window of the order.
///
/// Deadlines lie 10 to 70 s ahead, so none fires; they are spread so that a wheel's slots and a
/// heap's depth are used.
pub(super) async fn churn<S, F>(order: &Order, sleep: F) -> io::Result<Sample>
where
    S: Future<Output = ()>,
    F: Fn(Duration) -> S,
{
    let Order::Timers { armed, warm_up_ms, window_ms } = order else {
        return Err(unfit("the timer churn", order));
    };
    let mut spread = 1_u32;
    let mut ahead = || {
        // A linear congruential generator: the same deadlines for every contestant.
        spread = spread.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Duration::from_millis(10_000 + u64::from(spread >> 8) % 60_000)
    };
    let mut timers: Vec<Pin<Box<S>>> = (0..*armed).map(|_| Box::pin(sleep(ahead()))).collect();
    for timer in &mut timers {
        arm(timer.as_mut()).await;
    }
    let clock = CpuClock::of(0)?;
    let begin = Instant::now() + Duration::from_millis(*warm_up_ms);
    let window = Duration::from_millis(*window_ms);
    let mut oldest = (0..timers.len()).cycle();
    let mut opened = None;
    let mut counted = 0_u64;
    loop {
        for index in oldest.by_ref().take(BATCH) {
            // The old timer is dropped here, which cancels it; its memory takes the new one.
            timers[index].set(sleep(ahead()));
            arm(timers[index].as_mut()).await;
        }
        let now = Instant::now();
        match opened {
            None if now < begin => {}
            None => opened = Some((now, clock.used()?)),
            Some((opened, before)) => {
                counted += BATCH as u64;
                if now < opened + window {
                    continue;
                }
                let used = clock.used()? - before;
                let wall = (now - opened).as_secs_f64();
                return Ok(Sample {
                    cost: used.as_nanos() as f64 / counted as f64,
                    rate: Some(counted as f64 / wall),
                    latency: None,
                    resident_bytes: resident_bytes(std::process::id())?,
                    server_busy: Some(used.as_secs_f64() / wall),
                    load_busy: None,
                    starved: 0,
                });
            }
        }
    }
}

/// Polls a timer once, which arms it.
async fn arm<S: Future<Output = ()>>(timer: Pin<&mut S>) {
    struct Once<'a, S>(Pin<&'a mut S>);
    impl<S: Future<Output = ()>> Future for Once<'_, S> {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            assert!(self.0.as_mut().poll(cx).is_pending(), "a timer fired seconds too early");
            Poll::Ready(())
        }
    }
    Once(timer).await;
}
