//! The core that something belongs to, as seen from any thread.

use std::cell::Cell;
use std::ptr;

thread_local! {
    /// The core that this thread runs, for a question that is asked at every wake and of every
    /// lease: only ever compared.
    static CURRENT: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

/// A core that things come home to, from whatever thread they are dropped on.
pub(crate) trait Home: Send + Sync {
    /// Ends the core's sleep, or keeps it from falling asleep. Any thread; never blocks.
    fn notify(&self);
}

/// Whether the calling thread runs this core.
#[inline]
pub(crate) fn is_here<H: Home + ?Sized>(home: &H) -> bool {
    ptr::addr_eq(CURRENT.get(), home)
}

/// Whether the calling thread runs no core.
pub(crate) fn is_outside() -> bool {
    CURRENT.get().is_null()
}

/// The calling thread runs this core from now on.
pub(crate) fn enter(home: &impl Home) {
    CURRENT.set(ptr::from_ref(home).cast());
}

/// The calling thread runs no core any more.
pub(crate) fn leave() {
    CURRENT.set(ptr::null());
}
