//! How far a relay has come: what both of its ways count.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use crate::handle::written;
#[cfg(target_os = "linux")]
use crate::op::Quota;
use crate::timer::clock;

/// What both ways of a relay have carried, and may still carry.
pub(super) struct Progress {
    /// Bytes that have been written, each way.
    pub(super) counts: [Cell<u64>; 2],
    /// Bytes that may still be carried.
    pub(super) left: Cell<u64>,
    /// There is an idle timeout.
    watched: bool,
    /// When bytes moved last, if that is watched.
    pub(super) last: Cell<Instant>,
}

impl Progress {
    pub(super) fn new(limit: u64, watched: bool) -> Progress {
        let (counts, left, last) = (Default::default(), Cell::new(limit), Cell::new(clock::now()));
        Progress { counts, left, watched, last }
    }

    fn note_movement(&self) {
        if self.watched {
            self.last.set(clock::now());
        }
    }

    /// So many bytes have been received, and are to be carried.
    pub(super) fn note_received(&self, len: u64) {
        self.note_movement();
        self.left.set(self.left.get() - len);
    }

    /// So many bytes have been written, the first way or the second.
    pub(super) fn note_written(&self, index: usize, len: u64) {
        let counted = &self.counts[index];
        counted.set(counted.get() + len);
        self.note_movement();
    }

    /// All of so many bytes have been written; or a part, if the error tells of one.
    pub(super) fn note_result(&self, index: usize, len: u64, result: &io::Result<()>) {
        self.note_written(
            index,
            match result {
                Ok(()) => len,
                Err(error) => written(error).unwrap_or(0) as u64,
            },
        );
    }
}

#[cfg(target_os = "linux")]
impl Quota for Progress {
    fn left(&self) -> u64 {
        self.left.get()
    }
}
