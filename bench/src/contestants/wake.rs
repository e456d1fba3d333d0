//! A wake from another thread: how long until the task runs.
//!
//! ```text
//!   ringer, on the load's CPU                 core, on the contestant's CPU
//!     notes the time, rings ── waker ────────▶ a task notes the time, and answers
//!     spins until it is answered, then waits while the core goes to sleep, or goes on working
//! ```
//! The ringer never sleeps, so it is one CPU that is woken, not two. A busy core has tasks that
//! work for a microsecond and yield, without end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::timers::let_run;
use super::{unfit, Order};
use crate::load::{Latency, Sample};
use crate::process::{pin_thread, resident_bytes, thread_cpu_used};
use crate::stats::Histogram;

/// How long a core is left alone before it is woken: longer than any of them spins.
const PAUSE: Duration = Duration::from_micros(300);
/// The same for a core that is busy anyway.
const PAUSE_BUSY: Duration = Duration::from_micros(20);
/// How many tasks keep a busy core busy, and for how long each of them works at a time.
const BUSY_TASKS: usize = 16;
pub(super) const WORK: Duration = Duration::from_micros(1);
/// A wake that takes longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// A task without a home yet.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ringer and core share.
pub(super) struct Bell {
    /// How often it was rung, and how often answered.
    rung: AtomicU64,
    answered: AtomicU64,
    /// When the last answer came, in nanoseconds since `epoch`.
    answered_ns: AtomicU64,
    over: AtomicBool,
    epoch: Instant,
}

impl Bell {
    /// Whether it was rung since the last answer, which this is then.
    pub(super) fn answer(&self) -> bool {
        let rung = self.rung.load(Ordering::Acquire);
        if rung == self.answered.load(Ordering::Relaxed) {
            return false;
        }
        self.answered_ns.store(self.epoch.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.answered.store(rung, Ordering::Release);
        true
    }

    /// Whether the ringer has gone.
    pub(super) fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// The thread that rings.
pub(super) struct Ringer {
    pub(super) bell: Arc<Bell>,
    thread: JoinHandle<io::Result<Histogram>>,
    opened: Instant,
    used_before: Duration,
}

impl Ringer {
    /// Starts it. `ring` wakes the core; the thread that calls this one is the core's.
    pub(super) fn start(
        order: &Order,
        mut ring: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let Order::Wake { busy, ringer_cpu, window_ms } = *order else {
            return Err(unfit("the ringer", order));
        };
        let bell = Arc::new(Bell {
            rung: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            answered_ns: AtomicU64::new(0),
            over: AtomicBool::new(false),
            epoch: Instant::now(),
        });
        let shared = bell.clone();
        let window = Duration::from_millis(window_ms);
        let thread = std::thread::Builder::new().spawn(move || {
            let rung = pin_thread(ringer_cpu).and_then(|()| {
                let pause = if busy { PAUSE_BUSY } else { PAUSE };
                ring_for(&shared, window, pause, &mut ring)
            });
            shared.over.store(true, Ordering::Release);
            // The core must see that it is over.
            ring()?;
            rung
        })?;
        let (opened, used_before) = (Instant::now(), thread_cpu_used()?);
        Ok(Self { bell, thread, opened, used_before })
    }

    /// What came of it. To be called by the core's thread.
    pub(super) fn end(self) -> io::Result<Sample> {
        let (wall, used) = (self.opened.elapsed(), thread_cpu_used()? - self.used_before);
        let panicked = |_| io::Error::other("the ringer panicked");
        let histogram = self.thread.join().map_err(panicked)??;
        let latency = Latency::of(&histogram);
        let latency = latency.ok_or_else(|| io::Error::other("nobody was woken"))?;
        Ok(Sample {
            cost: latency.p50_ns as f64,
            rate: Some(histogram.total() as f64 / wall.as_secs_f64()),
            latency: Some(latency),
            resident_bytes: resident_bytes(std::process::id())?,
            server_busy: Some(used.as_secs_f64() / wall.as_secs_f64()),
            load_busy: None,
            starved: 0,
        })
    }
}

fn ring_for(
    bell: &Bell,
    window: Duration,
    pause: Duration,
    ring: &mut impl FnMut() -> io::Result<()>,
) -> io::Result<Histogram> {
    let mut histogram = Histogram::new();
    let begin = Instant::now();
    for number in 1.. {
        let alone = Instant::now();
        while alone.elapsed() < pause {
            std::hint::spin_loop();
        }
        if begin.elapsed() >= window {
            break;
        }
        let rung_ns = bell.epoch.elapsed().as_nanos() as u64;
        bell.rung.store(number, Ordering::Release);
        ring()?;
        let since = Instant::now();
        while bell.answered.load(Ordering::Acquire) != number {
            std::hint::spin_loop();
            if since.elapsed() > LOST_AFTER {
                return Err(io::Error::other("a wake was lost"));
            }
        }
        histogram.record(bell.answered_ns.load(Ordering::Relaxed).saturating_sub(rung_ns));
    }
    Ok(histogram)
}

/// Carries out the order in a runtime. `spawn` puts a task on this thread.
pub async fn run(order: &Order, spawn: impl Fn(Task)) -> io::Result<Sample> {
    let Order::Wake { busy, .. } = *order else { return Err(unfit("the wake", order)) };
    let (waiting, ended) = (Slot::default(), Slot::default());
    let ring = {
        let waiting = waiting.clone();
        move || {
            waiting.wake();
            Ok(())
        }
    };
    let ringer = Ringer::start(order, ring)?;
    let bell = ringer.bell.clone();
    if busy {
        for _ in 0..BUSY_TASKS {
            let bell = bell.clone();
            spawn(Box::pin(async move {
                while !bell.over() {
                    work();
                    let_run().await;
                }
            }));
        }
    }
    // A task like any other: what a runtime does for its first one may be something else.
    let (answering, last) = (bell.clone(), ended.clone());
    spawn(Box::pin(async move {
        std::future::poll_fn(|cx| {
            // Registered before looking, so that a ring in between finds somebody to wake.
            waiting.register(cx.waker());
            answering.answer();
            if answering.over() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        last.wake();
    }));
    std::future::poll_fn(|cx| {
        ended.register(cx.waker());
        if bell.over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    ringer.end()
}

/// A microsecond of it.
pub(super) fn work() {
    let since = Instant::now();
    while since.elapsed() < WORK {
        std::hint::spin_loop();
    }
}

/// A place for a waker that two threads use.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Waker>>>);

impl Slot {
    fn register(&self, waker: &Waker) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(there) => there.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
