//! What each task waits for: a picture of a core, on demand.
//!
//! Nothing is recorded for it but when a task ran last. Who waits for what is read backwards: an
//! operation in flight, a timer, a task that is awaited, each knows whom it will wake, and a task's
//! waker says which task it is. A task that waits through a waker of somebody else's making (several
//! futures at once, a channel) waits for "something else".

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::core::Core;
use super::core_id::CoreId;
use super::placement::{cores, spawn_on, CoreHandle};
use crate::timer::clock;

/// A task, as it was when [`dump`] looked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its core.
    pub core: CoreId,
    /// The name that [`TaskBuilder::name`](crate::runtime::TaskBuilder::name) gave it.
    pub name: Option<String>,
    /// Where it was spawned; for the main future, where it was started.
    pub location: &'static Location<'static>,
    /// What it waits for; nothing if it is ready to run.
    pub waits: Vec<WaitsFor>,
    /// Whether it is ready to run.
    pub ready: bool,
    /// How long ago it ran last, to some milliseconds.
    pub since: Duration,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// An operation on a descriptor.
    Operation {
        /// The name of the operation, such as `recv`.
        name: &'static str,
        /// The descriptor; -1 for none.
        fd: i32,
    },
    /// A timer.
    Timer,
    /// The end of a task that was spawned there.
    Task(&'static Location<'static>),
    /// A channel, another thread, several things at once: whatever holds its waker.
    SomethingElse,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitsFor::Operation { name, fd } => write!(f, "{name} on {fd}"),
            WaitsFor::Timer => f.write_str("a timer"),
            WaitsFor::Task(location) => write!(f, "the task spawned at {location}"),
            WaitsFor::SomethingElse => f.write_str("something else"),
        }
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {}: ", self.core)?;
        if let Some(name) = &self.name {
            write!(f, "{name}, ")?;
        }
        write!(f, "spawned at {}, ", self.location)?;
        f.write_str(if self.ready { "ready" } else { "waits for " })?;
        for (index, wait) in self.waits.iter().enumerate() {
            write!(f, "{}{wait}", if index > 0 { " and " } else { "" })?;
        }
        write!(f, ", since {:?}", self.since)
    }
}

/// Looks at every task of every core of this runtime: where it was spawned, what it waits for, since
/// when. It takes some microseconds for each ten tasks, during which a core does nothing else, and
/// waits for cores that are busy with a task.
///
/// # Panics
/// Outside a runtime. From elsewhere: `spawn_on(&core, || ringpark::runtime::dump())`.
///
/// ```
/// ringpark::block_on(async {
///     ringpark::runtime::TaskBuilder::new().name("sleeper").spawn(ringpark::time::sleep(
///         std::time::Duration::from_secs(3600),
///     ));
///     ringpark::yield_now().await;
///     let tasks = ringpark::runtime::dump().await;
///     let sleeper = tasks.iter().find(|task| task.name.as_deref() == Some("sleeper")).unwrap();
///     assert_eq!(sleeper.waits, [ringpark::runtime::WaitsFor::Timer]);
/// });
/// ```
pub async fn dump() -> Vec<TaskInfo> {
    let others = cores();
    let here = CoreHandle::current();
    let asked: Vec<_> = others
        .iter()
        .filter(|core| **core != here)
        .map(|core| spawn_on(core, || async { Core::with_current(Core::dump) }))
        .collect();
    let mut tasks = Core::with_current(Core::dump);
    for answer in asked {
        // A core that has ended has no tasks.
        tasks.extend(answer.await.unwrap_or_default());
    }
    tasks.sort_by_key(|task| task.core);
    tasks
}

impl Core {
    /// The tasks of this core.
    pub(super) fn dump(&self) -> Vec<TaskInfo> {
        let mut waits: HashMap<*const (), Vec<WaitsFor>> = HashMap::new();
        let mut note = |waker: *const (), wait| waits.entry(waker).or_default().push(wait);
        for (waker, code, fd) in self.driver.borrow().slots.waiters() {
            note(waker, WaitsFor::Operation { name: code.name(), fd });
        }
        for waker in self.timers.borrow().waiters() {
            note(waker, WaitsFor::Timer);
        }
        let tasks = self.tasks.borrow();
        for (_, task) in tasks.iter() {
            if let Some(joiner) = task.joiner_id() {
                note(joiner, WaitsFor::Task(task.location()));
            }
        }
        let now = clock::coarse();
        tasks
            .iter()
            .map(|(_, task)| {
                let ready = task.is_scheduled();
                let mut waits = waits.remove(&task.id()).unwrap_or_default();
                if waits.is_empty() && !ready {
                    waits.push(WaitsFor::SomethingElse);
                }
                TaskInfo {
                    core: self.shared.id,
                    name: task.name().map(str::to_owned),
                    location: task.location(),
                    waits: if ready { Vec::new() } else { waits },
                    ready,
                    since: now.saturating_sub(task.last_run()),
                }
            })
            .collect()
    }
}
