//! The name of a core.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one core, uniquely in this process: a number is not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CoreId(u64);

impl CoreId {
    /// A number that no other core has had.
    pub(super) fn next() -> CoreId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        CoreId(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
