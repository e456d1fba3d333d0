//! Starting the same main on several cores, and what these cores share.

use std::collections::{HashMap, HashSet};
use std::future::{poll_fn, Future};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use super::core;
use super::placement::CoreHandle;
use super::shared::Shared;
use crate::driver::Config;
use crate::net::{Dispatcher, Seat};
use crate::sys;

/// What the cores of one `run` share.
#[derive(Default)]
struct Group {
    /// A core has failed: the others are to end.
    stopped: AtomicBool,
    /// Whom to wake then.
    wakers: Mutex<Vec<Waker>>,
    /// Addresses that some core listens on.
    listening: Mutex<HashSet<(Protocol, SocketAddr)>>,
    /// Addresses whose connections one acceptor distributes.
    dispatchers: Mutex<HashMap<SocketAddr, Arc<Dispatcher>>>,
    cores: Mutex<Cores>,
    /// A core has been opened, or the group is stopped.
    opened: Condvar,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Accept {
    /// The kernel: each core has a socket of its own on the port (`SO_REUSEPORT`), and a connection
    /// goes to one of them by a hash of its addresses.
    #[default]
    SharedPort,
    /// One core accepts for all, and gives each connection to the core with the least to do: see
    /// [`least_loaded`](crate::least_loaded).
    ByLoad,
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

    /// Whether one acceptor serves all cores that listen on the address.
    pub(crate) fn dispatches(&self, address: SocketAddr) -> bool {
        self.accept == Accept::ByLoad && self.cores > 1 && address.port() != 0
    }

    /// A seat at the dispatcher of the address, and a descriptor of its socket, which `bind` makes if
    /// there is none yet.
    pub(crate) fn sit(
        &self,
        address: SocketAddr,
        bind: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> io::Result<(Seat, OwnedFd)> {
        let mut dispatchers = self.group.dispatchers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dispatcher) = dispatchers.get(&address) {
            if let Some(seated) = dispatcher.sit()? {
                return Ok(seated);
            }
        }
        let dispatcher = Dispatcher::new(bind()?);
        let seated = dispatcher.sit()?.expect("its socket has just been made");
        dispatchers.insert(address, dispatcher);
        Ok(seated)
    }

    /// Calls `bind`, saying whether another core of the group may listen on the same address: the
    /// first to bind must have the address to itself, so that a foreign listener is noticed.
    pub(crate) fn bind_shared<T>(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        bind: impl FnOnce(Sharing) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.cores == 1 || address.port() == 0 {
            return bind(Sharing::No);
        }
        // The lock is held while binding, so that the first is first.
        let mut listening = self.group.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !listening.contains(&(protocol, address));
        let bound = bind(if first { Sharing::AsFirst } else { Sharing::WithOthers })?;
        listening.insert((protocol, address));
        Ok(bound)
    }
}

/// Whose addresses: those of TCP and of UDP have nothing to do with each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// How a listener's address is shared among the cores of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// Not at all.
    No,
    /// Taken alone, then opened to the others.
    AsFirst,
    /// Another core has it already.
    WithOthers,
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
