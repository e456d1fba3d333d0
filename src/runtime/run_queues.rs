//! The tasks of a core that are ready to run, and which of them is next.
//!
//! A task that another thread has woken runs before those that the core's own tasks have: it has been
//! on its way for longer, and whoever woke it may wait for its answer. But of two runs one is for the
//! others, if both kinds are ready. And of `BACKGROUND_SHARE` runs one is for those in the background,
//! if some are ready: see `Priority`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;

use super::metrics::Count;

/// Of so many task runs one is in the background, if both kinds are ready.
const BACKGROUND_SHARE: usize = 8;

/// A task in a queue. What it points to only the task's own code knows.
pub(crate) type Queued = NonNull<()>;

type Queue = RefCell<VecDeque<Queued>>;

thread_local! {
    /// Those of the core that this thread runs.
    static CURRENT: RefCell<Option<Rc<RunQueues>>> = const { RefCell::new(None) };
}

/// The queues of one core.
#[derive(Default)]
pub(crate) struct RunQueues {
    /// Tasks that the core's own tasks have woken.
    local: Queue,
    /// Those that other threads have woken.
    remote: Queue,
    /// Whether the task that ran last was one of these.
    remote_ran: Cell<bool>,
    /// Those that can wait, whoever has woken them.
    background: Queue,
    /// Times that a task was woken.
    pub(super) wakes: Count,
}

impl RunQueues {
    /// Makes these the queues of the core that this thread runs.
    pub(super) fn enter(queues: Rc<RunQueues>) {
        CURRENT.set(Some(queues));
    }

    /// The thread runs no core any more.
    pub(super) fn leave() {
        drop(CURRENT.take());
    }

    /// Calls `with` with the queues of the core that this thread runs.
    ///
    /// # Panics
    /// If it runs none.
    pub(super) fn with_current<R>(with: impl FnOnce(&RunQueues) -> R) -> R {
        CURRENT.with_borrow(|queues| with(queues.as_ref().expect("this thread runs a core")))
    }

    /// Puts a task that has just been marked as scheduled into its queue.
    pub(super) fn enqueue(&self, task: Queued, background: bool, remote: bool) {
        self.wakes.add(1);
        let queue = match (background, remote) {
            (true, _) => &self.background,
            (false, true) => &self.remote,
            (false, false) => &self.local,
        };
        queue.borrow_mut().push_back(task);
    }

    fn all(&self) -> impl Iterator<Item = &Queue> {
        [&self.remote, &self.local, &self.background].into_iter()
    }

    /// Whether no task is ready to run.
    pub(super) fn is_empty(&self) -> bool {
        self.all().all(|queue| queue.borrow().is_empty())
    }

    /// How many tasks are ready to run.
    pub(super) fn len(&self) -> usize {
        self.all().map(|queue| queue.borrow().len()).sum()
    }

    /// Takes the next task to run, the `run`th of this turn.
    pub(super) fn next(&self, run: usize) -> Option<Queued> {
        let background = || self.background.borrow_mut().pop_front();
        if run % BACKGROUND_SHARE == BACKGROUND_SHARE - 1 {
            return background().or_else(|| self.next_urgent());
        }
        self.next_urgent().or_else(background)
    }

    /// Those that other threads have woken first, but not two of them while others are ready.
    fn next_urgent(&self) -> Option<Queued> {
        let remote = || self.remote.borrow_mut().pop_front();
        let local = || self.local.borrow_mut().pop_front();
        let remote_first = !self.remote_ran.get();
        let first = if remote_first { remote() } else { local() };
        self.remote_ran.set(first.is_some() == remote_first);
        first.or_else(|| if remote_first { local() } else { remote() })
    }

    /// Takes all tasks out without running them.
    pub(super) fn empty(&self, mut each: impl FnMut(Queued)) {
        for queue in self.all() {
            queue.borrow_mut().drain(..).for_each(&mut each);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn tasks_from_other_threads_get_every_second_run_and_the_background_every_eighth() {
        let queues = RunQueues::default();
        let names: Vec<char> = "lllllrrrbb".chars().collect();
        for name in &names {
            queues.enqueue(NonNull::from(name).cast(), *name == 'b', *name == 'r');
        }
        let name = |task| names.iter().find(|name| NonNull::from(*name).cast() == task).unwrap();
        let order: String = (0..10).map_while(|run| queues.next(run)).map(name).collect();
        assert_eq!(order, "rlrlrllblb");
        assert!(queues.is_empty());
        assert_eq!((queues.len(), queues.wakes.get()), (0, 10));
    }
}
