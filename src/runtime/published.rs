//! A core's counters where any thread can read them.
//!
//! The core writes them once a turn, before it may sleep: plain stores, some nanoseconds for all.
//! Each counter by itself is as it was then; two of them may be from turns that follow each other.

use std::sync::atomic::{AtomicU64, Ordering};

use super::metrics::{Metrics, COUNTERS};

/// The counters as of the last turn.
pub(super) struct Published {
    words: [AtomicU64; COUNTERS],
    backend: std::sync::OnceLock<crate::driver::Backend>,
}

impl Published {
    pub(super) fn new() -> Published {
        let words = [const { AtomicU64::new(0) }; COUNTERS];
        Published { words, backend: std::sync::OnceLock::new() }
    }

    /// The core's thread.
    pub(super) fn publish(&self, metrics: &Metrics) {
        self.backend.get_or_init(|| metrics.backend);
        for (word, value) in self.words.iter().zip(metrics.words()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Any thread. `None` before the core's first turn.
    pub(super) fn read(&self) -> Option<Metrics> {
        let words = std::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
        Some(Metrics::from_words(*self.backend.get()?, words))
    }
}
