//! Where work is to run: the cores of a runtime, how busy each is, and tasks for a chosen one.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;

use super::core::Core;
use super::core_id::CoreId;
use super::metrics::Metrics;
use super::remote::{self, RemoteHandle};
use super::task::{Origin, Shared};

/// A core, seen from anywhere: it can be cloned and sent to any thread.
///
/// The handle of a core that has ended stays valid: its counters stand still, and what is spawned
/// there is refused.
pub struct CoreHandle(Arc<Shared>);

impl CoreHandle {
    pub(super) fn new(shared: Arc<Shared>) -> CoreHandle {
        shared.add_handle();
        CoreHandle(shared)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// The core that this thread runs.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> CoreHandle {
        CoreHandle::new(Core::current().shared.clone())
    }

    /// Its name.
    pub fn id(&self) -> CoreId {
        self.0.id
    }

    /// Its counters as of its last turn, from any thread; `None` before its first. A core that sleeps,
    /// or runs one task for long, has made no turn since.
    pub fn metrics(&self) -> Option<Metrics> {
        let mut metrics = self.0.published.read()?;
        metrics.measure(&self.0.load);
        Some(metrics)
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// How much it has to do, as of now.
    pub fn load(&self) -> Load {
        Load {
            tasks: self.0.load.tasks(),
            pending: self.0.pending() as u64,
            busy: self.0.load.busy(),
        }
    }
}

impl Clone for CoreHandle {
    fn clone(&self) -> CoreHandle {
        CoreHandle::new(self.0.clone())
    }
}

impl Drop for CoreHandle {
    fn drop(&mut self) {
        self.0.remove_handle();
    }
}

impl PartialEq for CoreHandle {
    fn eq(&self, other: &CoreHandle) -> bool {
        self.id() == other.id()
    }
}

impl Eq for CoreHandle {}

impl Hash for CoreHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for CoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoreHandle").field(&self.id().get()).finish()
    }
}

/// How much a core has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Tasks that are not done, as of its last turn.
    pub tasks: u64,
    /// Tasks that other threads have spawned on it and that it has not taken in yet.
    pub pending: u64,
    /// The part of the time, from 0 to 1, that its thread has been on a processor lately: over the
    /// last tens of milliseconds in which somebody has asked.
    pub busy: f64,
}

impl Load {
    /// What placement compares: how many tasks there are, weighed by how busy they have kept the
    /// core. The count makes a burst of new tasks spread before any of them has run; the weight lets
    /// a core with heavy tasks get fewer, at most five times fewer, so that no burst follows a
    /// moment's idleness to one core.
    ///
    /// `coming` counts what the caller has already chosen the core for.
    pub(crate) fn score(&self, coming: usize) -> f64 {
        (self.tasks + self.pending + coming as u64 + 1) as f64 * (0.25 + self.busy)
    }
}

/// The cores of this runtime that have not ended, in the order in which they were started. With
/// [`Builder::run`](crate::Builder::run) these are all of them, from the first line of `main` on.
///
/// # Panics
/// Outside a runtime. A foreign thread is given handles from within.
///
/// ```
/// ringpark::Builder::new().cores(2).run(|| async {
///     let cores = ringpark::runtime::cores();
///     assert!(cores.contains(&ringpark::runtime::CoreHandle::current()));
///     for core in cores {
///         println!("core {}: {:?}", core.id(), core.load());
///     }
///     Ok(())
/// }).unwrap();
/// ```
#[track_caller]
pub fn cores() -> Vec<CoreHandle> {
    Core::current().group.members().into_iter().map(CoreHandle::new).collect()
}

/// The one of these cores that has the least to do, and has not ended: the fewest tasks, weighed by
/// how busy the core has been lately. The first of them where several are equal.
pub fn least_loaded(cores: &[CoreHandle]) -> Option<&CoreHandle> {
    let scored =
        cores.iter().filter(|core| !core.is_closed()).map(|core| (core.load().score(0), core));
    scored.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, core)| core)
}

/// Starts a task on the given core, from any core or from a foreign thread. `work` is called there;
/// the future that it makes stays there and need not be `Send`.
///
/// The task runs whether or not the handle is awaited. The call never blocks: the core's inbox has
/// no bound at which a waker would have to wait, but at most 65,536 tasks may wait there to be
/// started.
///
/// # Errors
/// The handle gives a [`JoinError`](crate::JoinError) that
/// [is refused](crate::JoinError::is_refused) if that many tasks wait or the core has ended; `work`
/// is dropped then.
///
/// ```
/// ringpark::block_on(async {
///     let core = ringpark::runtime::CoreHandle::current();
///     let thread = std::thread::spawn(move || {
///         ringpark::spawn_on(&core, || async { 6 * 7 }).wait()
///     });
///     while !thread.is_finished() {
///         ringpark::time::sleep(std::time::Duration::from_millis(1)).await;
///     }
///     assert_eq!(thread.join().unwrap().unwrap(), 42);
/// });
/// ```
#[track_caller]
pub fn spawn_on<F, Fut>(core: &CoreHandle, work: F) -> RemoteHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    remote::spawn(core, work, Origin::at(Location::caller()))
}

/// Starts a task on the core of this runtime that has the least to do, which may be this one. See
/// [`least_loaded`] and [`spawn_on`].
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn_anywhere<F, Fut>(work: F) -> RemoteHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    let cores = cores();
    let core = least_loaded(&cores).expect("this core has not ended");
    remote::spawn(core, work, Origin::at(Location::caller()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn load(tasks: u64, busy: f64) -> Load {
        Load { tasks, pending: 0, busy }
    }

    #[test]
    fn a_burst_spreads_and_a_busy_core_gets_less() {
        assert!(load(1, 0.5).score(0) < load(2, 0.5).score(0));
        assert!(load(10, 0.2).score(0) < load(10, 0.9).score(0));
        assert!(load(100, 0.0).score(0) > load(10, 1.0).score(0), "an idle core is not buried");
    }
}
