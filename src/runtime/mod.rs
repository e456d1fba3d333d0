//! Running futures: cores, tasks, and what wakes them.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(crate) mod blocking;
mod builder;
mod context;
mod core;
mod core_id;
mod dump;
mod fixed;
mod group;
mod launch;
mod load;
mod metrics;
mod oneshot;
mod placement;
mod published;
mod remote;
mod run_queues;
mod shared;
mod spin;
mod stall;
mod task;
mod task_builder;
mod wakeup;

pub(crate) use self::core::Core;
pub use crate::driver::{Backend, Feature, ParseNameError, SetupError};
pub use blocking::spawn_blocking;
pub use builder::Builder;
pub use core_id::CoreId;
pub use dump::{dump, TaskInfo, WaitsFor};
pub use group::Accept;
pub use metrics::{Counter, Metrics};
pub use placement::{cores, least_loaded, spawn_anywhere, spawn_on, CoreHandle, Load};
pub use remote::RemoteHandle;
pub use task::{JoinError, JoinHandle};
pub use task_builder::{Priority, TaskBuilder};

/// Runs a future on one core, on this thread, until it is done. See [`Builder::block_on`].
///
/// # Panics
/// If no backend can be set up, and for the reasons given there.
///
/// ```
/// assert_eq!(ringpark::block_on(async { 6 * 7 }), 42);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match Builder::new().block_on(future) {
        Ok(output) => output,
        Err(error) => panic!("cannot start a runtime: {error}"),
    }
}

/// Starts a task on this core. It need not be `Send`: it stays here.
///
/// It runs whether or not the handle is awaited; dropping the handle detaches it. If it panics, that
/// is its [`JoinError`], and the core and its other tasks go on.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    Core::current().spawn(future, Location::caller())
}

/// The counters of this core.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn metrics() -> Metrics {
    Core::current().metrics()
}

/// Lets the other tasks that are ready run first.
///
/// ```
/// ringpark::block_on(async {
///     let other = ringpark::spawn(async {});
///     ringpark::yield_now().await;
///     assert!(other.is_finished());
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
