//! How busy a core is, measured by whoever asks and not by the core: the kernel keeps count of the
//! processor time of each thread, and any thread may read it. So the turn loop pays nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::ThreadClock;
use crate::timer::clock;

/// The shortest time over which the busy part is measured: below that, one task decides it.
const WINDOW: Duration = Duration::from_millis(20);

/// The measure of one core.
pub(super) struct LoadMeter {
    /// Tasks that are not done, as of the last turn.
    tasks: AtomicU64,
    /// The clock of the core's thread, with what it said and when; `None` once the thread may have gone.
    meter: Mutex<Option<Meter>>,
    start: Instant,
    /// What the clock and the wall said when the thread went.
    last: Mutex<(Duration, Duration)>,
}

struct Meter {
    /// The processor time of the thread.
    thread: ThreadClock,
    since: Instant,
    /// What the clock said first: the thread may have had a life before.
    first: Duration,
    used: Duration,
    busy: f64,
}

impl LoadMeter {
    /// A measure of the calling thread.
    pub(super) fn of_this_thread() -> LoadMeter {
        let meter = ThreadClock::of_this_thread().ok().map(|thread| Meter {
            since: clock::now(),
            first: thread.now().unwrap_or_default(),
            used: thread.now().unwrap_or_default(),
            thread,
            busy: 0.0,
        });
        LoadMeter {
            tasks: AtomicU64::new(0),
            meter: Mutex::new(meter),
            start: clock::now(),
            last: Mutex::default(),
        }
    }

    /// The core's thread, once a turn.
    pub(super) fn set_tasks(&self, count: u64) {
        self.tasks.store(count, Ordering::Relaxed);
    }

    pub(super) fn tasks(&self) -> u64 {
        self.tasks.load(Ordering::Relaxed)
    }

    /// The part of the time that the thread has been on a processor. 0 for one that has ended.
    pub(super) fn busy(&self) -> f64 {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(meter) = &mut *meter else { return 0.0 };
        let elapsed = clock::since(meter.since);
        if elapsed >= WINDOW {
            let used = meter.thread.now().unwrap_or(meter.used);
            let busy = used.saturating_sub(meter.used).as_secs_f64() / elapsed.as_secs_f64();
            (meter.since, meter.used) = (clock::now(), used);
            meter.busy = busy.min(1.0);
        }
        meter.busy
    }

    /// The processor time that the thread has used since the core was opened, and the time since then.
    pub(super) fn used(&self) -> (Duration, Duration) {
        let meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        match &*meter {
            Some(meter) => {
                let used = meter.thread.now().unwrap_or(meter.used);
                (used.saturating_sub(meter.first), clock::since(self.start))
            }
            None => *self.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The thread goes: its clock must not be read any more.
    pub(super) fn end(&self) {
        let last = self.used();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
