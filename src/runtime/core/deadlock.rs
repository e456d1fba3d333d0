//! A core that would sleep for ever, because nothing can wake it, says so instead.

use std::collections::HashMap;
use std::time::Duration;

use super::Core;
use crate::driver::Wait;
use crate::runtime::task::TaskRef;

/// How long a core sleeps before it looks whether anything can wake it.
const DEADLOCK_PATIENCE: Duration = Duration::from_millis(100);

impl Core {
    /// Before a sleep without end, in which nothing is in flight: sleeps a moment first, and if
    /// nothing has happened then looks whether anything ever can.
    pub(super) fn suspect_deadlock(&self, wait: Wait) -> Wait {
        let in_flight = self.driver.borrow().slots.in_flight();
        if wait != Wait::Forever || in_flight > 0 || self.pools().any(|pool| pool.is_starving()) {
            return wait;
        }
        if self.suspected.replace(self.counters.polls.get()) != self.counters.polls.get() {
            return Wait::For(DEADLOCK_PATIENCE);
        }
        self.check_deadlock();
        Wait::Forever
    }

    /// Panics if nobody holds a waker who could use it.
    fn check_deadlock(&self) {
        if self.shared.has_handles() {
            return;
        }
        let tasks = self.tasks.borrow();
        // Wakers held in vain: that of the main future by `run`, and those by which tasks that
        // nothing wakes would wake each other at their end.
        let mut in_vain: HashMap<*const (), isize> = HashMap::new();
        in_vain.insert(tasks[0].id(), 1);
        for (_, task) in tasks.iter() {
            if let Some(joiner) = task.joiner_id() {
                *in_vain.entry(joiner).or_default() += 1;
            }
        }
        let by_others = |task: &TaskRef| in_vain.get(&task.id()).copied().unwrap_or(0);
        if tasks.iter().any(|(_, task)| task.may_be_woken(by_others(task))) {
            return;
        }
        let waiting: Vec<String> = tasks
            .iter()
            .skip(1)
            .map(|(_, task)| format!("the task spawned at {}", task.location()))
            .take(10)
            .collect();
        let others = if waiting.is_empty() {
            String::new()
        } else {
            format!(", and so do {} tasks ({})", tasks.len() - 1, waiting.join(", "))
        };
        drop(tasks);
        panic!(
            "deadlock: the main future waits{others}, but no operation is in flight, no timer is \
             armed, and nobody holds a waker"
        );
    }
}
