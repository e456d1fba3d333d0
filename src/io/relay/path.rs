//! Which path the bytes of a relay take: by leases or by pipes.
//!
//! ```text
//!              bulk: pieces are large on average, and there is a pipe to be had
//!   copying ──────────────────────────────────────────────────────▶ splicing
//!   (leases) ◀────────────────────────────────────────────────────── (pipes)
//!              quiet: pieces are small on average; or no pipe, or the limit is near
//! ```
//!
//! A lease costs little for each message and a copy for each byte, a splice the other way round. The
//! last few pieces decide, and not a single one, so that a path is left only when the traffic has
//! changed.

use crate::handle::IoHandle;

/// The way that bytes take through a [`relay`](super::relay).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum RelayPath {
    /// Each direction copies as long as messages are small, splices while there is bulk, and back.
    #[default]
    Auto,
    /// Through buffers of the core: best for small messages.
    Copy,
    /// Through a pipe, with splice(2), so that bytes never leave the kernel: best for bulk. Linux;
    /// where it is not to be had (no descriptors left, another system, a process that does not ignore
    /// `SIGPIPE`, [`Feature::Splice`](crate::runtime::Feature::Splice) off) bytes are copied instead. A side
    /// that does not read keeps up to 1 MiB in the pipe.
    Splice,
}

/// From which size on pieces are spliced, and to which they are copied again, on average. Measured with
/// messages there and back over 16 connections (`relay-16x4k` to `-16x256k` of the benches, with
/// `ringpark-copy` and `ringpark-splice`; Linux 6.18): splicing costs 1.4 of copying for 4 and 8 KiB,
/// as much for 16 KiB, 0.9 for 32, 0.7 for 64, and 0.45 in bulk. So little is lost between the two, and
/// the same traffic does not leave a path for the other and come back.
const LARGE: u32 = 24 << 10;
const SMALL: u32 = 8 << 10;

/// Pieces beyond this are no more bulk than others.
const PIECE_MAX: u32 = 64 << 10;

/// The size of the last pieces: an average, since one message comes in pieces of all sizes.
pub(super) struct Pace {
    average: u32,
    /// From which average on there is bulk.
    threshold: u32,
}

impl Pace {
    /// Of pieces that are no longer than a buffer.
    pub(super) fn of_copies(from: &IoHandle) -> Pace {
        let full = from.core.pool.buffer_size();
        Pace { average: 0, threshold: LARGE.min(full - full / 8) }
    }

    /// Of pieces of any size, in bulk.
    #[cfg(target_os = "linux")]
    pub(super) fn of_splices() -> Pace {
        Pace { average: LARGE, threshold: LARGE }
    }

    /// A quarter of what it was is forgotten with each piece.
    pub(super) fn note(&mut self, len: usize) {
        let len = len.min(PIECE_MAX as usize) as u32;
        self.average = self.average - self.average / 4 + len / 4;
    }

    pub(super) fn is_bulk(&self, path: RelayPath) -> bool {
        match path {
            RelayPath::Copy => false,
            RelayPath::Splice => true,
            RelayPath::Auto => self.average >= self.threshold,
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn is_quiet(&self, path: RelayPath) -> bool {
        path == RelayPath::Auto && self.average <= SMALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces of a size it takes until `pace` is as told.
    fn pieces(pace: &mut Pace, len: usize, mut is_so: impl FnMut(&Pace) -> bool) -> usize {
        (0..100)
            .find(|_| {
                is_so(pace) || {
                    pace.note(len);
                    false
                }
            })
            .unwrap_or(100)
    }

    #[test]
    fn some_large_pieces_make_bulk_and_some_small_ones_end_it() {
        let bulk = |pace: &Pace| pace.is_bulk(RelayPath::Auto);
        let mut pace = Pace { average: 0, threshold: LARGE };
        assert_eq!(pieces(&mut pace, 16 << 10, bulk), 100, "16 KiB are copied");
        assert!(pieces(&mut pace, 64 << 10, bulk) <= 4);
        // Halves of messages, and what is left at the end of a buffer.
        (0..20).for_each(|round| pace.note(if round % 4 == 3 { 1 << 10 } else { 40 << 10 }));
        assert!(bulk(&pace));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bulk_ends_with_some_small_pieces() {
        let quiet = |pace: &Pace| pace.is_quiet(RelayPath::Auto);
        let mut pace = Pace::of_splices();
        assert_eq!(pieces(&mut pace, 1 << 20, quiet), 100);
        let small = pieces(&mut pace, 64, quiet);
        assert!((2..=10).contains(&small), "{small}");
    }

    #[test]
    fn a_forced_path_is_not_left() {
        let mut pace = Pace { average: 0, threshold: LARGE };
        assert!(pace.is_bulk(RelayPath::Splice));
        (0..20).for_each(|_| pace.note(1 << 20));
        assert!(!pace.is_bulk(RelayPath::Copy));
    }
}
