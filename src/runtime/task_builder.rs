//! Settings of a task that is to be spawned: its name, how urgent it is, whether it is traced.

use std::future::Future;
use std::panic::Location;

use super::core::Core;
use super::placement::CoreHandle;
use super::remote::{self, RemoteHandle};
use super::task::{JoinHandle, Label, Origin};

/// How urgent a task is.
///
/// While tasks of both kinds are ready, a core runs seven that are latency-critical for each one in
/// the background. Within a kind they run in the order in which they became ready, but for
/// latency-critical ones that another thread has woken: those come first, and get every second run at
/// most while others are ready. So a task in the background waits for no more than eight runs for each
/// of its kind that is before it, and a latency-critical one for at most one run in the background for
/// each seven of its own kind. Neither interrupts a task that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Somebody waits for it: connections, mostly. What [`spawn`](crate::spawn) gives.
    #[default]
    Latency,
    /// It can wait: housekeeping, statistics, prefetching.
    Background,
}

/// Settings of a task that is to be spawned.
///
/// ```
/// ringpark::block_on(async {
///     use ringpark::runtime::{Priority, TaskBuilder};
///     let sweep = TaskBuilder::new().name("sweep").priority(Priority::Background).spawn(async { 3 });
///     assert_eq!(sweep.await.unwrap(), 3);
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TaskBuilder {
    name: Option<String>,
    priority: Priority,
    traced: bool,
}

impl TaskBuilder {
    /// A task as [`spawn`](crate::spawn) starts it.
    pub fn new() -> TaskBuilder {
        TaskBuilder::default()
    }

    /// A name, for [`dump`](crate::runtime::dump), the log of stalls, and the task's span.
    pub fn name(mut self, name: impl Into<String>) -> TaskBuilder {
        self.name = Some(name.into());
        self
    }

    /// How urgent it is.
    pub fn priority(mut self, priority: Priority) -> TaskBuilder {
        self.priority = priority;
        self
    }

    /// Lets the task run within a [`tracing`] span of its own, `task`, at level INFO and with its name
    /// and where it was spawned, so that what it logs says whose it is.
    pub fn traced(mut self) -> TaskBuilder {
        self.traced = true;
        self
    }

    /// Starts the task on this core.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        Core::current().spawn_as(future, self.origin(Location::caller()))
    }

    /// Starts the task on the given core: see [`spawn_on`](crate::spawn_on).
    #[track_caller]
    pub fn spawn_on<F, Fut>(self, core: &CoreHandle, work: F) -> RemoteHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send,
    {
        remote::spawn(core, work, self.origin(Location::caller()))
    }

    fn origin(self, location: &'static Location<'static>) -> Origin {
        let span = self.traced.then(|| {
            let name = self.name.as_deref().unwrap_or_default();
            tracing::info_span!(target: "ringpark", "task", name, spawned_at = %location)
        });
        let label = match (self.name, span) {
            (None, None) => None,
            (name, span) => Some(Box::new(Label { name: name.map(String::into_boxed_str), span })),
        };
        Origin { location, label, background: self.priority == Priority::Background }
    }
}
