//! Which core this thread runs, if any.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use super::core::Core;
use super::run_queues::RunQueues;
use crate::sync::home;
pub(super) use crate::sync::home::is_outside;
use crate::sys;

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

const OUTSIDE: &str = "this must be called inside a ringpark runtime: see ringpark::block_on";

/// While it lives, the thread runs a core.
pub(super) struct Entered;

/// Makes `core` the one that this thread runs.
pub(super) fn enter(core: Rc<Core>) -> Entered {
    assert_outside();
    home::enter(&*core.shared);
    RunQueues::enter(core.queues.clone());
    CORE.set(Some(core));
    Entered
}

/// Lets go of this thread's core in a forked child: see `Driver::end_in_fork`.
extern "C" fn in_forked_child() {
    // Both fail only in the middle of a call into here or the driver, from where nobody forks.
    let _ = CORE.try_with(|core| {
        if let Ok(Some(core)) = core.try_borrow().as_deref() {
            if let Ok(mut driver) = core.driver.try_borrow_mut() {
                driver.end_in_fork();
            }
        }
    });
}

/// From now on children that are forked do not touch the ring of their parent.
pub(super) fn watch_forks() -> io::Result<()> {
    static WATCHED: Mutex<bool> = Mutex::new(false);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*watched {
        sys::at_fork_in_child(in_forked_child)?;
        *watched = true;
    }
    Ok(())
}

/// # Panics
/// If the thread runs a core already.
pub(super) fn assert_outside() {
    assert!(
        is_outside(),
        "block_on was called inside a ringpark runtime: await the future, or spawn it"
    );
}

impl Drop for Entered {
    fn drop(&mut self) {
        home::leave();
        drop(CORE.take());
        RunQueues::leave();
    }
}

impl Core {
    /// The core that this thread runs.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(crate) fn current() -> Rc<Core> {
        CORE.with_borrow(|core| match core {
            Some(core) => core.clone(),
            None => panic!("{OUTSIDE}"),
        })
    }

    /// Calls `with` with the core that this thread runs.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(crate) fn with_current<R>(with: impl FnOnce(&Core) -> R) -> R {
        CORE.with_borrow(|core| match core {
            Some(core) => with(core),
            None => panic!("{OUTSIDE}"),
        })
    }
}
