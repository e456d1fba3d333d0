//! A core: one thread's executor, timers, buffers and driver, and the loop that turns them.
//!
//! # A turn
//!
//! ```text
//!   ┌─▶ take in what other threads have woken (and again before each task)
//!   │   run tasks that are ready, at most a budget of them
//!   │   fire timers that are due
//!   │   driver: submit, wait if nothing is ready, collect completions ── the only system call
//!   └── deliver completions: wake tasks, hand items to their handles
//! ```
//!
//! Which task runs next: see `RunQueues`.
//!
//! Fairness: a task that wakes itself goes to the end of the queue, behind all that are ready. After at
//! most `BUDGET` task runs, or fewer if they take `LONG`, the driver is asked and timers fire. So no
//! task, and no pair of tasks that wake each other, keeps the others or the network out. Nor does a task
//! whose descriptors are always ready, so that it would never have to wait: after `OPERATIONS` in one
//! run it goes to the end of the queue too.

mod deadlock;
mod end;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{poll_fn, Future};
use std::io;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use super::context::{self, Entered};
use super::group::Membership;
use super::metrics::{Counters, Metrics};
use super::run_queues::RunQueues;
use super::shared::RELAXED;
use super::spin::Spin;
use super::stall::Detector;
use super::task::{JoinHandle, Origin, Shared, TaskRef};
#[cfg(target_os = "linux")]
use crate::buf::Pipes;
use crate::buf::Pool;
use crate::completion::Completion;
use crate::driver::{choose, Buffers, Capabilities, Config, Delivery, Driver, Wait};
use crate::timer::{clock, Wheel};

/// Task runs between two looks at the driver, at most.
const BUDGET: usize = 128;

/// After so many task runs it is looked whether they have taken long.
const LOOK: usize = 32;

/// How long tasks may run between two looks at the driver, if they are many.
const LONG: Duration = Duration::from_millis(1);

/// One turn in so many is measured.
const MEASURED: u64 = 32;

/// Operations that a task may start in one run, at most.
const OPERATIONS: u32 = 32;

/// One core's everything. It belongs to its thread; what others may touch is in `shared`.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) driver: RefCell<Driver>,
    /// What the driver's backend can do.
    pub(crate) capabilities: Capabilities,
    pub(crate) timers: RefCell<Wheel>,
    pub(crate) pool: Rc<Pool>,
    /// What relays move bulk through.
    #[cfg(target_os = "linux")]
    pub(crate) pipes: Rc<Pipes>,
    /// The buffers for datagrams, once there is a socket for them.
    datagrams: OnceCell<Rc<Pool>>,
    /// Tasks that are ready to run.
    pub(super) queues: Rc<RunQueues>,
    pub(super) tasks: RefCell<Slab<TaskRef>>,
    spin: Spin,
    /// Whether the counters are published, and times measured.
    watched: bool,
    /// The cores that run the same main, and what they share.
    pub(crate) group: Rc<Membership>,
    pub(crate) counters: Counters,
    /// The coarse clock, as of this turn.
    now: Cell<Duration>,
    /// Operations that the task which runs may still start.
    operations: Cell<u32>,
    /// The count of polls when a deadlock was last suspected.
    suspected: Cell<u64>,
}

/// Runs a future, which was started at this location, on a core of its own, on this thread, until it is
/// done.
pub(super) fn block_on<F: Future>(
    config: &Config,
    group: Membership,
    future: F,
    started_at: &'static Location<'static>,
) -> io::Result<F::Output> {
    context::assert_outside();
    context::watch_forks()?;
    let core = Core::open(config, group)?;
    let running = Running { core: core.clone(), entered: Some(context::enter(core)) };
    let _detector = match config.stall_limit {
        Some(limit) => Some(Detector::start(running.core.shared.clone(), limit)?),
        None => None,
    };
    running.core.group.join(&running.core.shared);
    let mut future = pin!(future);
    let output = running.core.run(|cx| future.as_mut().poll(cx), started_at);
    Ok(output)
}

/// A core that has been entered; ends it in order, also when the main future panics.
struct Running {
    core: Rc<Core>,
    entered: Option<Entered>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.core.end();
        drop(self.entered.take());
    }
}

impl Core {
    fn open(config: &Config, group: Membership) -> io::Result<Rc<Core>> {
        let opened = choose(config)?;
        let (driver, shared) = (opened.driver, Arc::new(Shared::new(opened.notifier)));
        let pool = Core::pool(opened.buffers, shared.clone());
        Ok(Rc::new(Core {
            shared,
            driver: RefCell::new(driver),
            capabilities: opened.capabilities,
            timers: RefCell::new(Wheel::new(clock::now())),
            pool,
            #[cfg(target_os = "linux")]
            pipes: Rc::default(),
            datagrams: OnceCell::new(),
            queues: Rc::default(),
            counters: Counters::default(),
            now: Cell::new(clock::coarse()),
            tasks: RefCell::new(Slab::new()),
            spin: Spin::new(config.spin),
            watched: config.watched,
            group: Rc::new(group),
            operations: Cell::new(0),
            suspected: Cell::new(u64::MAX),
        }))
    }

    /// Starts a task on this core.
    pub(crate) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        self.spawn_as(future, Origin::at(location))
    }

    /// The same for a task with a name, or that can wait.
    pub(crate) fn spawn_as<F: Future + 'static>(
        &self,
        future: F,
        origin: Origin,
    ) -> JoinHandle<F::Output> {
        let task = TaskRef::new(future, self.shared.clone(), origin);
        let handle = JoinHandle::new::<F>(&task);
        self.keep(task);
        handle
    }

    /// Takes a new task into the core's keeping, and lets it run.
    fn keep(&self, task: TaskRef) {
        let key = self.tasks.borrow_mut().insert(task);
        let tasks = self.tasks.borrow();
        tasks[key].set_key(key);
        tasks[key].set_last_run(self.now.get());
        tasks[key].schedule(&self.queues, false);
        // At once, so that a burst of placed tasks spreads. The first is the main's stand-in.
        self.shared.load.set_tasks(tasks.len() as u64 - 1);
    }

    /// Takes in what other threads have put into the inbox.
    fn take_remote(&self) {
        for task in self.shared.receive() {
            self.take_in(task);
        }
    }

    /// Takes in what another thread has put into the inbox: a woken task, or a new one.
    fn take_in(&self, task: TaskRef) {
        self.counters.remote_wakes.add(1);
        if task.is_newborn() {
            self.shared.taken_in();
            self.keep(task);
        } else {
            task.schedule(&self.queues, true);
        }
    }

    /// Turns until `main` is done.
    fn run<T>(
        &self,
        mut main: impl FnMut(&mut Context<'_>) -> Poll<T>,
        started_at: &'static Location<'static>,
    ) -> T {
        // The main future lives on the stack of the caller. What stands for it among the tasks only
        // notes that it has been woken.
        let woken = Rc::new(Cell::new(true));
        let note = woken.clone();
        let stand_in = poll_fn(move |_| {
            note.set(true);
            Poll::<()>::Pending
        });
        drop(self.spawn_as(stand_in, Origin::main(started_at)));
        let waker = self.tasks.borrow()[0].waker();
        let mut context = Context::from_waker(&waker);
        let mut batch = Vec::new();
        let mut fired = Vec::new();
        loop {
            self.counters.turns.add(1);
            self.take_remote();
            self.now.set(clock::coarse());
            let measured = self.watched && self.counters.turns.get() % MEASURED == 0;
            let start = measured.then(clock::now);
            if woken.replace(false) {
                self.operations.set(OPERATIONS);
                self.shared.running.store(u64::MAX - self.counters.turns.get(), RELAXED);
                let ended = TaskRef::as_running(waker.data(), || main(&mut context));
                self.shared.running.store(0, RELAXED);
                if let Poll::Ready(output) = ended {
                    return output;
                }
            }
            self.run_tasks();
            if let Some(start) = start {
                self.counters
                    .in_tasks
                    .set(self.counters.in_tasks.get() + clock::since(start) * MEASURED as u32);
            }
            let next = self.fire_timers(&mut fired);
            self.pools().for_each(|pool| pool.serve_waiting());
            let wait = match (woken.get() || !self.queues.is_empty(), next) {
                (true, _) => Wait::No,
                (false, Some(time)) => Wait::For(time),
                (false, None) => Wait::Forever,
            };
            let wait = self.suspect_deadlock(wait);
            self.shared.load.set_tasks(self.tasks.borrow().len() as u64 - 1);
            if self.watched {
                self.shared.published.publish(&self.counts());
            }
            self.turn(wait, &mut batch);
            for completion in batch.drain(..) {
                self.deliver(completion);
            }
        }
    }

    /// Runs what is ready now, and what gets ready meanwhile, within the budget.
    fn run_tasks(&self) {
        let mut start = None;
        for run in 0..BUDGET {
            // Whom another thread has woken does not wait for the budget of a busy core.
            if self.shared.has_remote() {
                self.take_remote();
            }
            let Some(task) = self.queues.next(run) else { break };
            self.counters.polls.add(1);
            self.operations.set(OPERATIONS);
            self.shared.running.store(self.counters.polls.get(), RELAXED);
            TaskRef::run_queued(task, self.now.get(), |done| self.tasks.borrow_mut().remove(done));
            // The clock is read only where many tasks run.
            if run % LOOK == LOOK - 1 {
                let start = *start.get_or_insert_with(clock::now);
                if clock::since(start) > LONG {
                    break;
                }
            }
        }
        self.shared.running.store(0, RELAXED);
    }

    /// The buffers for datagrams, which are made when they are first asked for.
    pub(crate) fn datagram_pool(&self) -> &Rc<Pool> {
        self.datagrams.get_or_init(|| {
            let buffers = self.driver.borrow_mut().datagram_buffers();
            Core::pool(buffers, self.shared.clone())
        })
    }

    /// A pool of what the backend has for it.
    fn pool(buffers: Buffers, home: Arc<Shared>) -> Rc<Pool> {
        let pool = match buffers.room_min {
            None => Pool::new(buffers.config, home),
            Some(room_min) => Pool::with_room(buffers.config, room_min, home),
        };
        if let Some(ring) = buffers.ring {
            pool.attach(ring);
        }
        pool
    }

    fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        std::iter::once(&self.pool).chain(self.datagrams.get())
    }

    /// Whether the task that runs may start another operation now; if not, it is to yield.
    pub(crate) fn may_start(&self) -> bool {
        let left = self.operations.get();
        self.operations.set(left.saturating_sub(1));
        left > 0
    }

    /// Fires the timers that are due; says how long there is until the next.
    fn fire_timers(&self, fired: &mut Vec<Waker>) -> Option<Duration> {
        // The clock is read only if there is a timer.
        let next = self.timers.borrow().next()?;
        let now = clock::now();
        if next > now {
            return Some(next - now);
        }
        self.timers.borrow_mut().expire(now, fired);
        fired.drain(..).for_each(Waker::wake);
        self.timers.borrow().next().map(|next| next.saturating_duration_since(now))
    }

    /// Asks the driver; sleeps in there if it may, and if it is no use to look for work before.
    ///
    /// # Panics
    /// If the backend has died: no task could ever go on.
    fn turn(&self, wait: Wait, batch: &mut Vec<Completion>) {
        let look_until = if wait == Wait::No { None } else { self.spin.until(clock::now) };
        let wait = if look_until.is_some() { Wait::No } else { wait };
        let parked = wait != Wait::No && self.shared.park();
        let wait =
            if parked && !self.pools().any(|pool| pool.has_news()) { wait } else { Wait::No };
        let turned = self.driver.borrow_mut().turn(wait, batch);
        if parked {
            self.shared.unpark();
        }
        if let Err(error) = turned {
            panic!("the backend has failed, and with it its core: {error}");
        }
        if !batch.is_empty() || self.shared.has_remote() {
            self.spin.found(clock::now);
        } else if let Some(until) = look_until {
            // What was queued has gone out: there is something to look for.
            self.look_for_work(until);
        }
    }

    /// Looks for work without sleeping; the next turn takes it, or sleeps.
    fn look_for_work(&self, until: Instant) {
        let due = self.timers.borrow().next();
        let mut driver = self.driver.borrow_mut();
        loop {
            if driver.peek() || self.shared.has_remote() {
                return;
            }
            let now = clock::now();
            if now >= until {
                return self.spin.give_up();
            }
            if due.is_some_and(|due| now >= due) {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// Does what a completion asks for, with the driver let go.
    fn deliver(&self, completion: Completion) {
        let (delivery, watcher) = {
            let slots = &mut self.driver.borrow_mut().slots;
            (slots.complete(completion), slots.take_watcher(completion.token))
        };
        match delivery {
            Delivery::Wake(waker) => waker.wake(),
            Delivery::Discard(orphan) => orphan.discard(completion.into_result()),
            Delivery::Item { sink, last } => {
                if let Some(waker) = sink.item(completion, last) {
                    waker.wake();
                }
            }
            Delivery::Returned { loan, usage } => {
                let waker = loan.returned(usage);
                // Whoever is woken finds that the memory is nobody else's.
                drop(loan);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Delivery::Detached(code) => {
                if let Err(error) = completion.into_result() {
                    let op = code.name();
                    tracing::debug!(target: "ringpark", op, %error, "nobody waited for this");
                }
            }
            Delivery::Nothing => {}
        }
        if let Some(waker) = watcher {
            waker.wake();
        }
    }

    /// What the core has done so far.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = self.counts();
        metrics.measure(&self.shared.load);
        metrics
    }

    /// The same, but for what the kernel has to be asked.
    fn counts(&self) -> Metrics {
        let driver = self.driver.borrow();
        let counts = driver.counts();
        Metrics {
            backend: driver.backend(),
            in_flight: driver.slots.in_flight() as u64,
            // The stand-in of the main future is no task of the user's.
            tasks: self.tasks.borrow().len() as u64 - 1,
            timers: self.timers.borrow().len() as u64,
            turns: self.counters.turns.get(),
            polls: self.counters.polls.get(),
            entries: counts.entries,
            submissions: counts.submissions,
            completions: counts.completions,
            overflows: counts.overflows,
            stale: driver.slots.stale,
            out_of_buffers: self.pools().map(|pool| pool.shortages.get()).sum(),
            cancels: driver.slots.cancels,
            leases: self.pools().map(|pool| pool.leases() as u64).sum(),
            buffers: self.pools().map(|pool| pool.buffers() as u64).sum(),
            relayed_copied: self.counters.relayed_copied.get(),
            relayed_spliced: self.counters.relayed_spliced.get(),
            zero_copy_sent: driver.slots.zero_copy_sent,
            zero_copy_copied: driver.slots.zero_copy_copied,
            notifies: self.shared.notifies.load(RELAXED),
            wakes: self.queues.wakes.get(),
            remote_wakes: self.counters.remote_wakes.get(),
            ready: self.queues.len() as u64,
            refusals: self.shared.refusals.load(RELAXED),
            stalls: self.shared.stalls.load(RELAXED),
            in_tasks_ns: self.counters.in_tasks.get().as_nanos() as u64,
            on_processor_ns: 0,
            uptime_ns: 0,
        }
    }
}
