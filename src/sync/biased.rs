//! A count of references that its owner thread changes without atomic instructions.
//!
//! A thread-per-core runtime hands references out and takes them back almost always on one thread;
//! only now and then does another thread clone or drop one. So there are two counts: `local`, which
//! only the owner touches, and `shared`, which any thread may change. Either may be negative, since
//! a reference taken on one thread may be given back on another; only their sum means something.
//!
//! While the owner keeps its own share, `shared` is raised by `BIAS`, and nobody can bring it to
//! zero. When the owner lets go it merges: from then on `shared` is the true count, all changes go
//! there, and whoever brings it to exactly zero is the last.
//!
//! ```text
//!   owned:   sum = local + (shared - BIAS)         nobody is last
//!     │ merge(): shared += local - BIAS            the merger is last if that makes 0
//!     ▼
//!   merged:  sum = shared                          whoever makes it 0 is last
//! ```

use std::cell::Cell;

use super::atomic::{AtomicIsize, Ordering};

/// More than there can ever be references.
const BIAS: isize = isize::MAX / 2;
/// What `local` says once the counts are merged.
const MERGED: isize = isize::MIN;

/// The two counts.
pub(crate) struct Biased {
    /// Owner only.
    local: Cell<isize>,
    shared: AtomicIsize,
}

impl Biased {
    /// A count that its owner starts with `local` references handed out.
    pub(crate) fn new(local: isize) -> Biased {
        Biased { local: Cell::new(local), shared: AtomicIsize::new(BIAS) }
    }

    /// One reference more, on the owner's thread.
    pub(crate) fn add_local(&self) {
        match self.local.get() {
            MERGED => self.add_shared(),
            local => self.local.set(local + 1),
        }
    }

    /// One reference less, on the owner's thread. True if it was the last.
    #[must_use]
    pub(crate) fn sub_local(&self) -> bool {
        match self.local.get() {
            MERGED => self.sub_shared(),
            local => {
                self.local.set(local - 1);
                false
            }
        }
    }

    /// One reference more, on any thread.
    pub(crate) fn add_shared(&self) {
        // The one who adds has a reference already, so there is nothing to order.
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    /// One reference less, on any thread. True if it was the last.
    #[must_use]
    pub(crate) fn sub_shared(&self) -> bool {
        // What was done through any reference happens before the last one frees: release what this
        // thread did, and acquire what the others did.
        self.shared.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The owner lets go. True if no reference is left. Owner's thread, once.
    #[must_use]
    pub(crate) fn merge(&self) -> bool {
        let local = self.local.replace(MERGED);
        debug_assert_ne!(local, MERGED, "merged twice");
        let change = local - BIAS;
        self.shared.fetch_add(change, Ordering::AcqRel) + change == 0
    }

    /// How many references there are, as the owner sees it.
    pub(crate) fn count(&self) -> isize {
        let shared = self.shared.load(Ordering::Acquire);
        match self.local.get() {
            MERGED => shared,
            local => local + (shared - BIAS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_last_when_all_came_back_before() {
        let count = Biased::new(1);
        count.add_local();
        count.add_shared();
        assert!(!count.sub_shared() && !count.sub_local() && !count.sub_shared());
        assert_eq!(count.count(), 0);
        assert!(count.merge());
    }

    #[test]
    fn a_reference_that_outlives_the_owner_is_last() {
        let count = Biased::new(2);
        assert!(!count.sub_local());
        assert!(!count.merge());
        count.add_local();
        assert!(!count.sub_local());
        assert_eq!(count.count(), 1);
        assert!(count.sub_shared());
    }
}
