//! What a core has done, in numbers.

use std::cell::Cell;

use crate::driver::Backend;

/// The counters of one core, as they were when [`metrics`](crate::metrics) was called.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The backend that the core runs on.
    pub backend: Backend,
    /// Operations that have been started and not answered for good.
    pub in_flight: u64,
    /// Tasks that are not done; the main future is not counted.
    pub tasks: u64,
    /// Timers that are armed.
    pub timers: u64,
    /// Turns of the core's loop.
    pub turns: u64,
    /// Times that a task was run.
    pub polls: u64,
    /// System calls made to submit and to wait: at most one a turn.
    pub entries: u64,
    /// Entries handed to the ring; 0 on a backend without rings.
    pub submissions: u64,
    /// Completions and readiness events taken.
    pub completions: u64,
    /// Times that the completion queue overflowed. Nothing is lost by it.
    pub overflows: u64,
    /// Completions that came for an operation that was over. Always 0, but for a bug.
    pub stale: u64,
    /// Receives that found no buffer and had to wait, or made the pool grow.
    pub out_of_buffers: u64,
    /// Operations that were asked to end.
    pub cancels: u64,
    /// Leases that have not come back.
    pub leases: u64,
    /// Buffers that have memory.
    pub buffers: u64,
    /// Bytes that relays have received into buffers of the core.
    pub relayed_copied: u64,
    /// Bytes that relays have received into pipes: see [`RelayPath`](crate::io::RelayPath).
    pub relayed_spliced: u64,
    /// System calls that other threads made to wake the core.
    pub notifies: u64,
}

/// Bytes that relays have received, by the path that they took.
#[derive(Default)]
pub(crate) struct Relayed {
    pub(crate) copied: Cell<u64>,
    pub(crate) spliced: Cell<u64>,
}
