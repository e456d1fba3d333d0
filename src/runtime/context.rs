//! Which core this thread runs, if any.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::core::Core;
use super::shared::Shared;
use crate::sys;

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
    /// The same core, for a question that is asked at every wake: only ever compared.
    static SHARED: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

const OUTSIDE: &str = "this must be called inside a ringpark runtime: see ringpark::block_on";

/// While it lives, the thread runs a core.
pub(super) struct Entered;

/// Makes `core` the one that this thread runs.
pub(super) fn enter(core: Rc<Core>) -> Entered {
    assert_outside();
    SHARED.set(Arc::as_ptr(&core.shared));
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

/// Whether the thread runs no core.
pub(super) fn is_outside() -> bool {
    SHARED.get().is_null()
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
        SHARED.set(ptr::null());
        drop(CORE.take());
    }
}

/// Whether this thread runs the core of `shared`.
pub(super) fn is_current(shared: &Shared) -> bool {
    ptr::eq(SHARED.get(), shared)
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
