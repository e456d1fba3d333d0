//! Settings of a runtime, and the ways to start one.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::panic::Location;
use std::thread;
use std::time::Duration;

use super::core;
use super::group::{Accept, Membership};
use super::launch::{self, Plan};
use super::wakeup;
use crate::buf::PoolConfig;
use crate::driver::{Backend, Config, Feature};
use crate::op::Code;
use crate::sys;

/// Settings of a runtime.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let sum = ringpark::Builder::new()
///     .backend(ringpark::Backend::Epoll)
///     .block_on(async { 1 + 1 })?;
/// assert_eq!(sum, 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    cores: Option<usize>,
    cpus: Option<Vec<usize>>,
    pin: bool,
    name: String,
    max_blocking_threads: Option<usize>,
    accept: Accept,
    /// `None` depends on the number of cores.
    spin: Option<Duration>,
    config: Config,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The defaults: as many cores as there is parallelism, not pinned, the best backend that works.
    pub fn new() -> Builder {
        Builder {
            cores: None,
            cpus: None,
            pin: false,
            name: "ringpark".to_owned(),
            max_blocking_threads: None,
            accept: Accept::default(),
            spin: None,
            config: Config::default(),
        }
    }

    /// How many cores [`run`](Builder::run) starts, each on a thread of its own.
    pub fn cores(mut self, count: usize) -> Builder {
        self.cores = Some(count);
        self
    }

    /// The processors to run on: one core on each, pinned to it.
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Builder {
        self.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Whether each core is pinned to a processor: the first core to the first that this process
    /// may run on, and so on. With more cores than processors they begin again with the first.
    pub fn pin(mut self, pin: bool) -> Builder {
        self.pin = pin;
        self
    }

    /// Forces a backend. If it does not work here, that is an error. `RINGPARK_BACKEND` overrules.
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.config.backend = Some(backend);
        self
    }

    /// Does without an optional feature, of io_uring or `splice`, as if the kernel did not have it.
    pub fn without(mut self, feature: Feature) -> Builder {
        self.config.features.remove(feature);
        self
    }

    /// Entries of a ring's submission queue: 256 if not set. More of them save nothing, since a turn
    /// submits what there is. The kernel rounds up to a power of two.
    pub fn submission_entries(mut self, entries: u32) -> Builder {
        self.config.submission_entries = entries.max(1);
        self
    }

    /// Entries of a ring's completion queue: 4096 if not set, at least as many as the submission
    /// queue has. Each takes 16 bytes. An overflow costs time and loses nothing.
    pub fn completion_entries(mut self, entries: u32) -> Builder {
        self.config.completion_entries = entries.max(1);
        self
    }

    /// The most buffers that a core's receives may use, and the size of each in bytes. When all are
    /// in use, receives wait for one to come back. Unless set this is 1024 of 64 KiB, of which a core
    /// that needs few has few.
    ///
    /// # Panics
    /// If there are none, or more than 32768, or if they have no size, or one above 1 GiB.
    pub fn buffer_pool(mut self, count_max: usize, size: usize) -> Builder {
        assert!((1..=32768).contains(&count_max), "a pool has 1 to 32768 buffers");
        assert!((1..=1 << 30).contains(&size), "a buffer has 1 byte to 1 GiB");
        let count_max = count_max as u16;
        let count_base = count_max.min(16);
        self.config.pool = Some(PoolConfig { count_base, count_max, size: size as u32 });
        self
    }

    /// How long a core looks for work before it sleeps, at most. To sleep and be woken takes tens of
    /// microseconds in a virtual machine, much more than the work itself often does; to look
    /// for work takes processor time. So a core looks only while its work has lately come within
    /// this time; one that is idle, or has work seldom, sleeps at once.
    ///
    /// The default is what a wake-up costs on this machine, where the process may use more processors
    /// than the runtime has cores, so that looking keeps nobody else from working. It is measured by
    /// a few short sleeps, of 0.1 to 0.3 ms together, when the first such runtime of the process starts
    /// (on Linux; what came of it is logged, at DEBUG), and is 5 to 100 µs, or 50 µs where it cannot be
    /// measured. Elsewhere the default is zero, which is never to look.
    pub fn spin(mut self, time: Duration) -> Builder {
        self.spin = Some(time);
        self
    }

    /// Who decides which core serves a connection, where several cores listen on one address: the
    /// kernel, unless set.
    pub fn accept(mut self, accept: Accept) -> Builder {
        self.accept = accept;
        self
    }

    /// Lets a task that holds its core for longer than this be noticed: a line is logged, at most one a
    /// second for each core, with the task's name, where it was spawned, and, with the feature
    /// `backtrace`, the functions that it is in. It is noticed after one to one and a quarter times
    /// the limit, by a thread for each core that looks four times within it.
    ///
    /// SIGURG is used to look into the core's thread, unless the program has a handler for it: then
    /// the line says only that a task holds the core.
    ///
    /// # Panics
    /// If the limit is zero.
    pub fn stall_limit(mut self, limit: Duration) -> Builder {
        assert!(!limit.is_zero(), "every task holds its core for some time");
        self.config.stall_limit = Some(limit);
        self
    }

    /// How many helper threads there may be for [`spawn_blocking`](crate::spawn_blocking), name
    /// look-ups, and whatever else would block a core: 64 if not set. They serve the whole process,
    /// so the last runtime that is started decides.
    ///
    /// # Panics
    /// If it is 0.
    pub fn max_blocking_threads(mut self, count_max: usize) -> Builder {
        assert!(count_max > 0, "work on helper threads needs one at least");
        self.max_blocking_threads = Some(count_max);
        self
    }

    /// What the threads of [`run`](Builder::run) are named, followed by their number.
    pub fn thread_name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// Disturbs the backend as a kernel may, decided by this seed: for tests.
    #[doc(hidden)]
    pub fn faults(mut self, seed: u64) -> Builder {
        self.config.faults = Some(seed);
        self
    }

    /// Keeps the counters from being published and times from being measured: to find out what that
    /// costs.
    #[doc(hidden)]
    pub fn unwatched(mut self) -> Builder {
        self.config.watched = false;
        self
    }

    /// Lets the ring refuse these operations, as a policy may: for tests.
    ///
    /// # Panics
    /// If there is no operation of that name.
    #[doc(hidden)]
    pub fn forbid(mut self, operations: &[&str]) -> Builder {
        for name in operations {
            let code = Code::all().find(|code| code.name() == *name);
            self.config.forbidden.push(code.unwrap_or_else(|| panic!("no operation `{name}`")));
        }
        self
    }

    /// The names of all operations: for tests.
    #[doc(hidden)]
    pub fn operations() -> Vec<&'static str> {
        Code::all().map(Code::name).collect()
    }

    /// Runs a future on one core, on this thread, until it is done. The tasks that it spawned and
    /// that are not done are dropped then, and operations in flight are waited for.
    ///
    /// # Errors
    /// If the backend cannot be set up: a [`SetupError`](crate::runtime::SetupError) for the operator.
    ///
    /// # Panics
    /// Inside a runtime; if the future panics; if nothing can ever wake the future (a deadlock).
    #[track_caller]
    pub fn block_on<F: Future>(self, future: F) -> io::Result<F::Output> {
        self.prepare();
        core::block_on(&self.config_for(1), Membership::alone(), future, Location::caller())
    }

    /// Runs the same main once on every core, each on a thread of its own, until all are done.
    /// Listeners that the cores bind to the same address share its port, and the kernel spreads
    /// the connections.
    ///
    /// # Errors
    /// The first error of any core's main or set-up. The others are stopped then: their main is
    /// dropped where it waits.
    ///
    /// # Panics
    /// Inside a runtime. A panic of any core's main stops the others and goes on here.
    #[track_caller]
    pub fn run<F, Fut>(self, main: F) -> io::Result<()>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = io::Result<()>>,
    {
        super::context::assert_outside();
        self.prepare();
        let plan = self.plan()?;
        launch::run(&plan, &self.config_for(plan.cores), main, Location::caller())
    }

    /// What concerns the whole process.
    fn prepare(&self) {
        if let Some(count) = self.max_blocking_threads {
            super::blocking::set_threads_max(count);
        }
    }

    /// The configuration, with the default for whatever depends on the number of cores.
    fn config_for(&self, cores: usize) -> Config {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let spin = match self.spin {
            Some(spin) => spin,
            None if processors > cores => wakeup::cost(),
            None => Duration::ZERO,
        };
        Config { spin, ..self.config.clone() }
    }

    fn plan(&self) -> io::Result<Plan> {
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidInput, message);
        let cores = match (&self.cpus, self.cores) {
            (Some(cpus), None) => cpus.len(),
            (Some(cpus), Some(cores)) if cpus.len() != cores => {
                return Err(invalid("the number of cores is not that of the processors given"));
            }
            (_, Some(cores)) => cores,
            (None, None) => thread::available_parallelism()?.get(),
        };
        if cores == 0 {
            return Err(invalid("a runtime needs one core at least"));
        }
        let cpus = match &self.cpus {
            Some(cpus) => Some(cpus.clone()),
            None if self.pin => {
                let allowed = sys::allowed_cpus()?;
                Some((0..cores).map(|core| allowed[core % allowed.len()]).collect())
            }
            None => None,
        };
        Ok(Plan { cores, cpus, name: self.name.clone(), accept: self.accept })
    }
}
