//! Wakes from other threads, as many as one asks for: none may be lost.
//!
//! ```text
//!   RINGPARK_TESTS_WAKES=10000000 cargo test -p ringpark-tests wakes_are_never_lost
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use ringpark::runtime::{CoreHandle, RemoteHandle};
use ringpark::spawn_on;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z2" => single_cross_core_wakes_are_never_lost,
    Every: "Z2" => many_cross_core_wakes_are_never_lost,
    Every: "Z2" => many_foreign_wakes_are_never_lost,
];

/// How many wakes each trial makes on the plain backends.
const ENV_WAKES: &str = "RINGPARK_TESTS_WAKES";

/// The number of wakes: as the environment says, or so many.
fn wakes(variant: &Variant, usual: u64) -> u64 {
    let wanted = std::env::var(ENV_WAKES)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{ENV_WAKES}={text} is not a number")));
    variant.scale(wanted.unwrap_or(usual))
}

/// One end of a pair: rung by the other end, waited for by this one.
#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    waker: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for the ring after the first `heard`.
    async fn heard(&self, heard: u64) {
        std::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.rung.load(Ordering::Acquire) > heard {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Two ends that ring each other, until `over`.
#[derive(Default)]
struct Pair {
    here: Bell,
    there: Bell,
    over: AtomicBool,
}

impl Pair {
    /// The end that begins, and that says when it is over. The number of its rings.
    async fn begin(self: Arc<Pair>, stop: Arc<AtomicBool>) -> u64 {
        let mut rings = 0;
        loop {
            let last = stop.load(Ordering::Relaxed);
            self.over.store(last, Ordering::Relaxed);
            self.there.ring();
            self.here.heard(rings).await;
            rings += 1;
            if last {
                return rings;
            }
        }
    }

    /// The end that answers. The number of its rings.
    async fn answer(self: Arc<Pair>) -> u64 {
        for rings in 0.. {
            self.there.heard(rings).await;
            let last = self.over.load(Ordering::Relaxed);
            self.here.ring();
            if last {
                return rings + 1;
            }
        }
        unreachable!("nobody counts so far")
    }
}

/// Wakes that these cores have had from other threads.
fn taken_in(cores: &[&CoreHandle]) -> u64 {
    let counts = cores.iter().map(|core| core.metrics().map_or(0, |metrics| metrics.remote_wakes));
    counts.sum()
}

/// Lets the pairs ring until so many wakes have been taken in; then all must end: a pair of which one
/// wake was lost would stand still for ever.
async fn ring_until(
    count: u64,
    cores: &[&CoreHandle],
    stop: &AtomicBool,
    begun: Vec<ringpark::JoinHandle<u64>>,
) -> u64 {
    let (began, before) = (Instant::now(), taken_in(cores));
    let mut moved = (Instant::now(), before);
    loop {
        sleep(ms(5)).await;
        let now = taken_in(cores);
        if now != moved.1 {
            moved = (Instant::now(), now);
        }
        assert!(moved.0.elapsed() < PROMPT * 10, "all stand still after {} wakes", now - before);
        if now - before >= count {
            println!("{} wakes in {:.1?}", now - before, began.elapsed());
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut rings = 0;
    for pair in begun {
        rings += promptly("a pair that nobody may have forgotten", pair).await.expect("no panic");
    }
    rings
}

fn ring_across_cores(variant: &Variant, pairs: usize, count: u64) {
    on_two_cores(variant, |other| async move {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut begun, mut answering) = (Vec::new(), Vec::<RemoteHandle<u64>>::new());
        for _ in 0..pairs {
            let pair = Arc::new(Pair::default());
            answering.push(spawn_on(&other, {
                let pair = pair.clone();
                move || pair.answer()
            }));
            begun.push(ringpark::spawn(pair.begin(stop.clone())));
        }
        let here = CoreHandle::current();
        let rings = ring_until(count, &[&here, &other], &stop, begun).await;
        let mut answers = 0;
        for end in answering {
            answers += promptly("the other end", end).await.expect("no panic");
        }
        assert_eq!(answers, rings, "each ring was answered once");
    });
}

/// One pair of tasks on two cores that wake each other in turn, so that each core is on its way to
/// sleep, somewhere, when it is woken.
fn single_cross_core_wakes_are_never_lost(variant: &Variant) {
    ring_across_cores(variant, 1, wakes(variant, 20_000 * 50) / 50);
}

/// Many pairs, so that most wakes meet a busy core and share one system call.
fn many_cross_core_wakes_are_never_lost(variant: &Variant) {
    ring_across_cores(variant, 64, wakes(variant, 200_000));
}

/// The other end of each pair is a thread that runs no core.
fn many_foreign_wakes_are_never_lost(variant: &Variant) {
    variant.run(async {
        let stop = Arc::new(AtomicBool::new(false));
        let pairs: Vec<_> = (0..64).map(|_| Arc::new(Pair::default())).collect();
        let begun: Vec<_> =
            pairs.iter().map(|pair| ringpark::spawn(pair.clone().begin(stop.clone()))).collect();
        let foreign = std::thread::spawn(move || {
            let mut answered = vec![0; pairs.len()];
            let mut open = pairs.len();
            while open > 0 {
                let mut rested = true;
                for (pair, answered) in pairs.iter().zip(&mut answered) {
                    if pair.there.rung.load(Ordering::Acquire) > *answered {
                        *answered += 1;
                        rested = false;
                        open -= usize::from(pair.over.load(Ordering::Relaxed));
                        pair.here.ring();
                    }
                }
                if rested {
                    std::thread::yield_now();
                }
            }
            answered.iter().sum::<u64>()
        });
        let here = CoreHandle::current();
        let count = wakes(variant, 200_000);
        let rings = ring_until(count, &[&here], &stop, begun).await;
        until("the thread has ended", || foreign.is_finished()).await;
        assert_eq!(foreign.join().expect("no panic"), rings, "each ring was answered once");
    });
}
