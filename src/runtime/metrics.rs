//! What a core has done, in numbers.

use std::cell::Cell;
use std::time::Duration;

use super::load::LoadMeter;
use crate::driver::Backend;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $counts:ident, $help:literal;)*) => {
        /// The counters of one core: those of this core, as they are, from
        /// [`metrics`](crate::runtime::metrics); those of any core, as of its last turn, from
        /// [`CoreHandle::metrics`](crate::runtime::CoreHandle::metrics).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Metrics {
            /// The backend that the core runs on.
            pub backend: Backend,
            $($(#[$doc])* pub $name: u64,)*
        }

        /// How many counters there are.
        pub(super) const COUNTERS: usize = [$(stringify!($name)),*].len();

        impl Metrics {
            /// All counters, each with its name and meaning: for whoever shows them.
            pub fn counters(&self) -> impl Iterator<Item = Counter> {
                [$(Counter {
                    name: stringify!($name),
                    help: $help,
                    grows: matches!(Counts::$counts, Counts::Grows),
                    value: self.$name,
                }),*].into_iter()
            }

            /// All counters, in order.
            pub(super) fn words(&self) -> [u64; COUNTERS] {
                [$(self.$name),*]
            }

            pub(super) fn from_words(backend: Backend, words: [u64; COUNTERS]) -> Metrics {
                let [$($name),*] = words;
                Metrics { backend, $($name),* }
            }
        }
    };
}

/// What a counter counts.
enum Counts {
    /// How many there have been: it only ever grows.
    Grows,
    /// How many there are now.
    Now,
}

counters! {
    /// Operations that have been started and not answered for good.
    in_flight: Now, "Operations that have been started and not answered for good.";
    /// Tasks that are not done; the main future is not counted.
    tasks: Now, "Tasks that are not done.";
    /// Timers that are armed.
    timers: Now, "Timers that are armed.";
    /// Turns of the core's loop.
    turns: Grows, "Turns of the core's loop.";
    /// Times that a task was run.
    polls: Grows, "Times that a task was run.";
    /// System calls made to submit and to wait: at most one a turn.
    entries: Grows, "System calls made to submit and to wait.";
    /// Entries handed to the ring; 0 on a backend without rings.
    submissions: Grows, "Entries handed to the ring.";
    /// Completions and readiness events taken.
    completions: Grows, "Completions and readiness events taken.";
    /// Times that the completion queue overflowed. Nothing is lost by it.
    overflows: Grows, "Times that the completion queue overflowed.";
    /// Completions that came for an operation that was over. Always 0, but for a bug.
    stale: Grows, "Completions that came for an operation that was over.";
    /// Receives that found no buffer and had to wait, or made the pool grow.
    out_of_buffers: Grows, "Receives that found no buffer.";
    /// Operations that were asked to end.
    cancels: Grows, "Operations that were asked to end.";
    /// Leases that have not come back.
    leases: Now, "Leases that have not come back.";
    /// Buffers that have memory.
    buffers: Now, "Buffers that have memory.";
    /// Bytes that relays have received into buffers of the core.
    relayed_copied: Grows, "Bytes that relays have received into buffers.";
    /// Bytes that relays have received into pipes: see [`RelayPath`](crate::io::RelayPath).
    relayed_spliced: Grows, "Bytes that relays have received into pipes.";
    /// Bytes that zero-copy sends have carried, and whose memory the kernel has let go of: see
    /// [`write_all_zero_copy`](crate::net::TcpStream::write_all_zero_copy).
    zero_copy_sent: Grows, "Bytes that zero-copy sends have carried.";
    /// Of these, bytes that the kernel says it has copied all the same (6.2).
    zero_copy_copied: Grows, "Bytes of zero-copy sends that the kernel has copied all the same.";
    /// System calls that other threads made to wake the core.
    notifies: Grows, "System calls that other threads made to wake the core.";
    /// Times that a task was woken, by this core or from elsewhere.
    wakes: Grows, "Times that a task was woken.";
    /// Of these, wakes from other threads, and tasks that they have spawned here.
    remote_wakes: Grows, "Wakes and new tasks from other threads.";
    /// Tasks that wait to be run.
    ready: Now, "Tasks that wait to be run.";
    /// Tasks from other threads that were refused, because too many waited to be started.
    refusals: Grows, "Tasks from other threads that were refused.";
    /// Times that a task held the core for too long: see
    /// [`Builder::stall_limit`](crate::Builder::stall_limit).
    stalls: Grows, "Times that a task held the core for too long.";
    /// Nanoseconds spent in tasks: an estimate from one turn in 32.
    in_tasks_ns: Grows, "Nanoseconds spent in tasks (estimate).";
    /// Nanoseconds that the core's thread has been on a processor. What was not spent in tasks was
    /// spent in the kernel, in the turn loop, and looking for work.
    on_processor_ns: Grows, "Nanoseconds that the core's thread has been on a processor.";
    /// Nanoseconds since the core was started. The rest of it the core was asleep, or waited for a
    /// processor.
    uptime_ns: Grows, "Nanoseconds since the core was started.";
}

/// One counter, with what an operator needs to know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counter {
    /// The name of the field.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// Whether it only ever grows; otherwise it says how many there are now.
    pub grows: bool,
    /// The count.
    pub value: u64,
}

impl Metrics {
    /// Fills in what the kernel counts.
    pub(super) fn measure(&mut self, load: &LoadMeter) {
        let (used, uptime) = load.used();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        (self.on_processor_ns, self.uptime_ns) = (nanos(used), nanos(uptime));
    }
}

/// A counter of the core's thread.
#[derive(Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What a core counts itself, as it goes.
#[derive(Default)]
pub(crate) struct Counters {
    pub(super) turns: Count,
    pub(super) polls: Count,
    pub(super) remote_wakes: Count,
    /// Time spent in tasks, as far as it was measured.
    pub(super) in_tasks: Cell<Duration>,
    /// Bytes that relays have received, by the path that they took.
    pub(crate) relayed_copied: Count,
    pub(crate) relayed_spliced: Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_own_names() {
        let words = std::array::from_fn(|index| index as u64);
        let metrics = Metrics::from_words(Backend::Poll, words);
        assert_eq!(metrics.words(), words);
        let text = format!("{metrics:?}");
        for counter in metrics.counters() {
            assert!(text.contains(&format!(" {}: {}", counter.name, counter.value)), "{counter:?}");
        }
    }
}
