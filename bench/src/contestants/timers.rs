//! What every runtime does with timers: thousands of deadlines are set and moved for each one that
//! is ever missed, as a server does that gives each read a time-out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{unfit, Contestant, Order};
use crate::load::Sample;
use crate::process::{resident_bytes, CpuClock};
use crate::workload::{Service, Shape};

/// How many timers are churned between two looks at the clock.
const BATCH: usize = 1024;
/// How many timers are armed or cancelled before the runtime gets its turn.
const YIELD_EVERY: usize = 64;
/// One timer in so many is not cancelled.
const FIRES_EVERY: usize = 100;

/// What the measuring of timers costs by itself: they are made and dropped, and never armed.
pub(super) struct NoTimers;

impl Contestant for NoTimers {
    fn name(&self) -> &'static str {
        "no-timers"
    }

    fn about(&self) -> &'static str {
        "what is left where nothing is armed: the share of the measuring in all the others"
    }

    fn offers(&self, shape: Shape) -> bool {
        shape.service() == Service::Timers
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        let mut all = std::pin::pin!(run(order, |ahead| NoTimer {
            due: Instant::now() + ahead,
            asked: false
        }));
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(sample) = all.as_mut().poll(&mut cx) {
                return sample;
            }
        }
    }
}

/// Pending when it is asked first. Whoever asks again waits, with the whole thread.
struct NoTimer {
    due: Instant,
    asked: bool,
}

impl Future for NoTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.asked, true) {
            return Poll::Pending;
        }
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
        Poll::Ready(())
    }
}

/// A box for a timer, which is there before the clock runs.
type Slot<S> = Pin<Box<Option<S>>>;

/// Carries out an order about timers, all of them made by `sleep`.
///
/// What a runtime holds back from a task that has had its share must be off here: a timer that is
/// polled and not armed costs little.
pub async fn run<S, F>(order: &Order, sleep: F) -> io::Result<Sample>
where
    S: Future<Output = ()>,
    F: Fn(Duration) -> S,
{
    match *order {
        Order::Timers { armed, warm_up_ms, window_ms } => {
            let [warm_up, window] = [warm_up_ms, window_ms].map(Duration::from_millis);
            churn(armed, warm_up, window, sleep).await
        }
        Order::Deadlines { armed } => deadlines(armed, sleep).await,
        _ => Err(unfit("the timers", order)),
    }
}

/// Arms timers and cancels the oldest for each.
///
/// Deadlines lie 10 to 70 s ahead, so none fires; they are spread so that a wheel's slots and a
/// heap's depth are used.
async fn churn<S, F>(
    armed: usize,
    warm_up: Duration,
    window: Duration,
    sleep: F,
) -> io::Result<Sample>
where
    S: Future<Output = ()>,
    F: Fn(Duration) -> S,
{
    let mut far = Far(1);
    let mut timers: Vec<Slot<S>> = slots(armed);
    for timer in &mut timers {
        arm(timer, sleep(far.next())).await;
    }
    let clock = CpuClock::of(0)?;
    let begin = Instant::now() + warm_up;
    let mut oldest = (0..timers.len()).cycle();
    let mut opened = None;
    let mut counted = 0_u64;
    loop {
        for (number, index) in oldest.by_ref().take(BATCH).enumerate() {
            // The old timer is dropped here, which cancels it; its memory takes the new one.
            arm(&mut timers[index], sleep(far.next())).await;
            if number % YIELD_EVERY == 0 {
                let_run().await;
            }
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
                return sample(counted, clock.used()? - before, now - opened);
            }
        }
    }
}

/// Arms so many timers that all wait at the same time, cancels 99 of 100, and waits for the others.
async fn deadlines<S, F>(armed: usize, sleep: F) -> io::Result<Sample>
where
    S: Future<Output = ()>,
    F: Fn(Duration) -> S,
{
    let mut far = Far(1);
    let mut near = Far(2);
    let mut timers: Vec<Slot<S>> = slots(armed);
    let mut due = vec![None; armed];
    let clock = CpuClock::of(0)?;
    let (opened, before) = (Instant::now(), clock.used()?);
    for (number, timer) in timers.iter_mut().enumerate() {
        if number % FIRES_EVERY == 0 {
            // 0.5 to 1 s ahead.
            let ahead = Duration::from_millis(500 + near.next().as_millis() as u64 % 500);
            due[number] = Some(Instant::now() + ahead);
            arm(timer, sleep(ahead)).await;
        } else {
            arm(timer, sleep(far.next())).await;
        }
        if number % YIELD_EVERY == 0 {
            let_run().await;
        }
    }
    for (number, timer) in timers.iter_mut().enumerate() {
        if number % FIRES_EVERY != 0 {
            timer.set(None);
        }
        if number % YIELD_EVERY == 0 {
            let_run().await;
        }
    }
    for (timer, due) in timers.iter_mut().zip(&due) {
        if let (Some(timer), Some(due)) = (timer.as_mut().as_pin_mut(), due) {
            timer.await;
            assert!(Instant::now() >= *due, "a timer fired too early");
        }
    }
    sample(armed as u64, clock.used()? - before, opened.elapsed())
}

fn sample(counted: u64, used: Duration, wall: Duration) -> io::Result<Sample> {
    let wall = wall.as_secs_f64();
    Ok(Sample {
        cost: used.as_nanos() as f64 / counted as f64,
        rate: Some(counted as f64 / wall),
        latency: None,
        resident_bytes: resident_bytes(std::process::id())?,
        server_busy: Some(used.as_secs_f64() / wall),
        load_busy: None,
        starved: 0,
    })
}

fn slots<S>(count: usize) -> Vec<Slot<S>> {
    (0..count).map(|_| Box::pin(None)).collect()
}

/// Times 10 to 70 s ahead, the same ones for every contestant.
struct Far(u32);

impl Far {
    fn next(&mut self) -> Duration {
        // A linear congruential generator.
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Duration::from_millis(10_000 + u64::from(self.0 >> 8) % 60_000)
    }
}

/// Puts a timer into its slot and polls it once, which arms it.
async fn arm<S: Future<Output = ()>>(slot: &mut Slot<S>, timer: S) {
    slot.set(Some(timer));
    std::future::poll_fn(|cx| {
        let timer = slot.as_mut().as_pin_mut().expect("it was put there just now");
        assert!(timer.poll(cx).is_pending(), "a timer fired when it was armed");
        Poll::Ready(())
    })
    .await;
}

/// Gives everybody else in the runtime a turn, the runtime itself included.
pub(super) async fn let_run() {
    struct Once(bool);
    impl Future for Once {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    Once(false).await;
}
