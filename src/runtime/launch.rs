//! Starting the same main on several cores, and what these cores share.

use std::any::Any;
use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::pin::pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use super::core;
use super::placement::CoreHandle;
use super::shared::Shared;
use crate::driver::{Config, ParseNameError};
use crate::sys;

/// What the cores of one `run` share.
#[derive(Default)]
struct Group {
    /// A core has failed: the others are to end.
    stopped: AtomicBool,
    /// Whom to wake then.
    wakers: Mutex<Vec<Waker>>,
    cores: Mutex<Cores>,
    /// A core has been opened, or the group is stopped.
    opened: Condvar,
    /// What the floors above share among these cores, one thing of each type.
    shared: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

/// The cores of a group.
#[derive(Default)]
struct Cores {
    /// How many have been opened so far.
    opened: usize,
    /// Those that have not ended, with their places.
    running: Vec<(usize, Arc<Shared>)>,
}

/// A core's place among those that run the same main.
pub(crate) struct Membership {
    group: Arc<Group>,
    /// Which of the cores it is.
    index: usize,
    cores: usize,
    accept: Accept,
}

/// Who decides which core serves a connection, where several cores listen on one address.
///
/// The kernel's choice costs nothing: a connection is accepted on the core that serves it, and no core
/// knows of another. But it is blind: by the luck of the draw one core may get more than its share,
/// and the kernel does not know which core has heavy connections. One acceptor spreads them by load,
/// evenly in number while all weigh the same, for one wake between cores per connection (0.5 µs, or
/// some tens of µs if the other core sleeps), and it is a core that all new connections depend on. For
/// few and long connections take `ByLoad`, for many and short ones `SharedPort`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Accept {
    /// The kernel: each core has a socket of its own on the port (`SO_REUSEPORT`), and a connection
    /// goes to one of them by a hash of its addresses.
    #[default]
    SharedPort,
    /// One core accepts for all, and gives each connection to the core with the least to do: see
    /// [`least_loaded`](crate::runtime::least_loaded).
    ByLoad,
}

impl Accept {
    const ALL: [Accept; 2] = [Accept::SharedPort, Accept::ByLoad];

    /// The name, for settings: `shared-port` or `by-load`.
    pub const fn name(self) -> &'static str {
        match self {
            Accept::SharedPort => "shared-port",
            Accept::ByLoad => "by-load",
        }
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Accept {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Accept, ParseNameError> {
        let find = Accept::ALL.into_iter().find(|accept| accept.name() == name);
        let known = Accept::ALL.map(Accept::name);
        find.ok_or_else(|| ParseNameError::new("way to accept", name, known))
    }
}

impl Membership {
    /// A core by itself.
    pub(super) fn alone() -> Membership {
        Membership { group: Arc::default(), index: 0, cores: 1, accept: Accept::SharedPort }
    }

    /// The core is open. Returns when all others are, or one has failed: so every main finds all
    /// cores to spawn on.
    pub(super) fn join(&self, core: &Arc<Shared>) {
        let mut cores = self.group.lock_cores();
        cores.opened += 1;
        cores.running.push((self.index, core.clone()));
        cores.running.sort_by_key(|(index, _)| *index);
        self.group.opened.notify_all();
        while cores.opened < self.cores && !self.group.stopped.load(Ordering::SeqCst) {
            cores = self.group.opened.wait(cores).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The core ends.
    pub(super) fn leave(&self, core: &Arc<Shared>) {
        self.group.lock_cores().running.retain(|(_, other)| !Arc::ptr_eq(other, core));
    }

    /// Handles of all cores that have not ended, in order.
    pub(super) fn members(&self) -> Vec<CoreHandle> {
        let cores = self.group.lock_cores();
        cores.running.iter().map(|(_, core)| CoreHandle::new(core.clone())).collect()
    }

    /// How many cores run the same main.
    pub(crate) fn cores(&self) -> usize {
        self.cores
    }

    /// Who decides which of them serves a connection.
    pub(crate) fn accept(&self) -> Accept {
        self.accept
    }

    /// What all cores of the group share under this type; made by whichever asks first.
    pub(crate) fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut shared = self.group.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shared.iter().find_map(|one| one.clone().downcast().ok());
        found.unwrap_or_else(|| {
            let new = Arc::<T>::default();
            shared.push(new.clone());
            new
        })
    }
}

impl Group {
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let wakers = std::mem::take(&mut *self.lock_wakers());
        wakers.into_iter().for_each(Waker::wake);
        // Under the lock, so that nobody is between the look at `stopped` and the wait.
        let _cores = self.lock_cores();
        self.opened.notify_all();
    }

    fn lock_cores(&self) -> MutexGuard<'_, Cores> {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `main` until it is done or the group is stopped.
    async fn until_stopped(&self, main: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let mut main = pin!(main);
        let mut registered = false;
        poll_fn(|cx| {
            if let Poll::Ready(result) = main.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if !registered {
                self.lock_wakers().push(cx.waker().clone());
                registered = true;
            }
            match self.stopped.load(Ordering::SeqCst) {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        })
        .await
    }
}

/// Which threads to start.
pub(super) struct Plan {
    pub(super) cores: usize,
    /// The processor of each core, if they are to be pinned.
    pub(super) cpus: Option<Vec<usize>>,
    pub(super) name: String,
    pub(super) accept: Accept,
}

/// Runs `main`, which was started at this place, once on each core, and waits for all. The first
/// error stops the others and is the result; a panic does so too, and goes on in the caller.
pub(super) fn run<F, Fut>(
    plan: &Plan,
    config: &Config,
    main: F,
    started_at: &'static Location<'static>,
) -> io::Result<()>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = io::Result<()>>,
{
    if let Err(error) = sys::make_room_for_descriptors() {
        tracing::debug!(target: "ringpark", %error, "room for descriptors is made as they come");
    }
    let group = Arc::new(Group::default());
    let one = |index: usize| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if let Some(cpus) = &plan.cpus {
                pin(cpus[index])?;
            }
            let member =
                Membership { group: group.clone(), index, cores: plan.cores, accept: plan.accept };
            let main = async { group.until_stopped(main()).await };
            core::block_on(config, member, main, started_at)?
        }));
        if !matches!(outcome, Ok(Ok(()))) {
            group.stop();
        }
        outcome
    };
    let one = &one;
    let outcomes = thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..plan.cores {
            let name = format!("{}-{index}", plan.name);
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, move || one(index));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    group.stop();
                    threads.into_iter().for_each(|thread| drop(thread.join()));
                    return vec![Ok(Err(error))];
                }
            }
        }
        // What a thread panics with has been caught in there.
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(Err)).collect()
    });
    let mut result = Ok(());
    for outcome in outcomes {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => result = result.and(Err(error)),
            Err(panic) => resume_unwind(panic),
        }
    }
    result
}

fn pin(cpu: usize) -> io::Result<()> {
    sys::pin_to(cpu).map_err(|error| {
        let message =
            format!("cannot pin a core to CPU {cpu}: {error}; choose one that is allowed");
        io::Error::new(error.kind(), message)
    })
}
