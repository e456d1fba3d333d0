//! The stall detector: a thread that looks whether a core runs the same task for too long, and says
//! which, and where in its code.
//!
//! A core only notes the number of the task run that is under way, which costs it two stores a run.
//! The detector looks four times within the limit. If the number has not changed for that long, it
//! interrupts the core's thread by a signal (SIGURG, which is ignored unless somebody wants it); the
//! handler reads which task runs there and, with the feature `backtrace`, walks the stack.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::task::{running, Shared};
use crate::sys::stall::{self, ThreadId};
use crate::timer::clock;

/// One line in so long, for each core.
const PAUSE: Duration = Duration::from_secs(1);

/// The detector of one core. It ends when this is dropped, which the core's thread does.
pub(super) struct Detector {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Detector {
    /// Watches the calling thread, which runs the core.
    pub(super) fn start(core: Arc<Shared>, limit: Duration) -> std::io::Result<Detector> {
        let (stop, stopped) = channel();
        let watched = ThreadId::of_this_thread();
        stall::install(running)?;
        let watch = move || {
            let (mut seen, mut since, mut told) = (0, clock::now(), 0);
            let mut quiet_until = clock::now();
            let look = (limit / 4).max(Duration::from_millis(1));
            while stopped.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
                let run = core.running.load(Ordering::Relaxed);
                if run != seen {
                    (seen, since) = (run, clock::now());
                } else if run != 0 && run != told && clock::since(since) >= limit {
                    told = run;
                    core.stalls.fetch_add(1, Ordering::Relaxed);
                    if clock::now() >= quiet_until {
                        quiet_until = clock::now() + PAUSE;
                        report(&core, watched, clock::since(since));
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("ringpark-stalls".into()).spawn(watch)?;
        Ok(Detector { stop: Some(stop), thread: Some(thread) })
    }
}

/// Says what the thread is at.
fn report(core: &Shared, watched: ThreadId, held: Duration) {
    // The thread has not ended: it waits for this one before it does.
    let Some(sample) = stall::sample(watched) else {
        tracing::warn!(target: "ringpark", core = %core.id, ?held, "a task holds its core");
        return;
    };
    let spawned_at = sample.location.map(tracing::field::display);
    tracing::warn!(
        target: "ringpark",
        core = %core.id,
        task = sample.name,
        spawned_at,
        ?held,
        backtrace = sample.frames.join(" < "),
        "a task holds its core"
    );
}

impl Drop for Detector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!(target: "ringpark", "the stall detector had panicked");
            }
        }
    }
}
