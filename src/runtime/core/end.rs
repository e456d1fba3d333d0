//! The end of a core.

use std::time::Duration;

use super::Core;
use crate::driver::Wait;
use crate::runtime::task::{JoinError, TaskRef};
use crate::timer::clock;

/// How long the end of a runtime waits for the kernel to answer what is in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long it waits if all is answered and only memory is missing that peers have not acknowledged
/// yet: whoever reads slowly is not to hold up the end.
const RETURN_LIMIT: Duration = Duration::from_millis(500);

impl Core {
    /// Ends the core: drops all tasks, and waits for the kernel to let go of their memory.
    pub(super) fn end(&self) {
        self.group.leave(&self.shared);
        self.drop_tasks();
        let mut driver = self.driver.borrow_mut();
        driver.slots.want_cancel_all();
        drop(driver);
        let start = clock::now();
        let mut batch = Vec::new();
        while self.must_drain(clock::since(start)) {
            let wait = Wait::For(Duration::from_millis(100));
            if let Err(error) = self.driver.borrow_mut().turn(wait, &mut batch) {
                tracing::error!(target: "ringpark", %error, "the backend has failed");
                break;
            }
            for completion in batch.drain(..) {
                self.deliver(completion);
            }
        }
        self.leak_unanswered();
        // What the last completions woke or dropped may have spawned.
        self.drop_tasks();
        // Closes that the last completions have led to go out with this.
        if let Err(error) = self.driver.borrow_mut().turn(Wait::No, &mut batch) {
            tracing::error!(target: "ringpark", %error, "closing what the runtime still had open");
        }
        self.pools().for_each(|pool| pool.detach());
        #[cfg(target_os = "linux")]
        self.pipes.clear();
        self.driver.borrow_mut().end();
        // A waker of a foreign thread may have come late.
        drop(self.shared.close());
        self.shared.load.end();
    }

    /// Whether the kernel may still be waited for, after so much time.
    fn must_drain(&self, waited: Duration) -> bool {
        let slots = &self.driver.borrow().slots;
        if slots.in_flight() > slots.lent() {
            return waited < DRAIN_LIMIT;
        }
        slots.lent() > 0 && waited < RETURN_LIMIT
    }

    /// Drops the future of every task, and whatever their destructors spawn.
    fn drop_tasks(&self) {
        loop {
            self.queues.empty(TaskRef::unschedule);
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                return;
            }
            for (_, task) in &tasks {
                task.fail(JoinError::cancelled());
            }
            // What they woke in their end is queued and still allocated.
            self.queues.empty(TaskRef::unschedule);
            for (_, task) in tasks {
                task.release();
            }
        }
    }

    /// Gives up, without freeing it, what the kernel has not let go of in time.
    fn leak_unanswered(&self) {
        let mut driver = self.driver.borrow_mut();
        let left = driver.slots.in_flight();
        if left == 0 {
            return;
        }
        let ops: Vec<String> = driver
            .slots
            .unfinished()
            .take(10)
            .map(|(code, fd, cancel)| format!("{} on {fd} (cancel: {cancel:?})", code.name()))
            .collect();
        let (ops, only_lent) = (ops.join(", "), left == driver.slots.lent());
        driver.slots.leak();
        if only_lent {
            // A lease among it keeps its pool by itself, and nothing is written to any more.
            return tracing::warn!(
                target: "ringpark",
                left,
                ops,
                "peers have not acknowledged what was sent without a copy: its memory is leaked"
            );
        }
        tracing::error!(
            target: "ringpark",
            left,
            ops,
            "the kernel still works on operations at the runtime's end: their memory is leaked"
        );
        self.pools().for_each(|pool| pool.leak());
    }
}
