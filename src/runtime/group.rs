//! The cores that run the same main, and what they share.

use std::any::Any;
use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::task::Shared;
use crate::driver::ParseNameError;

/// What the cores of one `run` share.
#[derive(Default)]
pub(super) struct Group {
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
    /// Those that have not ended, with their indices.
    running: Vec<(usize, Arc<Shared>)>,
}

/// A core's membership in the group of those that run the same main.
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
    /// The core with this index, of so many.
    pub(super) fn new(group: Arc<Group>, index: usize, cores: usize, accept: Accept) -> Membership {
        Membership { group, index, cores, accept }
    }

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

    /// All cores that have not ended, in order.
    pub(super) fn members(&self) -> Vec<Arc<Shared>> {
        self.group.lock_cores().running.iter().map(|(_, core)| core.clone()).collect()
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
    pub(super) fn stop(&self) {
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
    pub(super) async fn until_stopped(
        &self,
        main: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
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
            if self.stopped.load(Ordering::SeqCst) {
                return Poll::Ready(Ok(()));
            }
            Poll::Pending
        })
        .await
    }
}
