//! What a core has done, in numbers.

use std::cell::Cell;
use std::time::Duration;

use super::load::LoadMeter;
use crate::driver::Backend;

/// The counters of one core: those of this core, as they are, from [`metrics`](crate::metrics); those of
/// any core, as of its last turn, from [`CoreHandle::metrics`](crate::CoreHandle::metrics).
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
    /// Times that a task was woken, by this core or from elsewhere.
    pub wakes: u64,
    /// Of these, wakes from other threads, and tasks that they have spawned here.
    pub remote_wakes: u64,
    /// Tasks that wait to be run.
    pub ready: u64,
    /// Tasks from other threads that were refused, because too many waited to be started.
    pub refusals: u64,
    /// Times that a task held the core for too long: see
    /// [`Builder::stall_limit`](crate::Builder::stall_limit).
    pub stalls: u64,
    /// Nanoseconds spent in tasks: an estimate from one turn in 32.
    pub in_tasks_ns: u64,
    /// Nanoseconds that the core's thread has been on a processor. What was not spent in tasks was
    /// spent in the kernel, in the turn loop, and looking for work.
    pub on_processor_ns: u64,
    /// Nanoseconds since the core was started. The rest of it the core was asleep, or waited for a
    /// processor.
    pub uptime_ns: u64,
}

/// One counter, with what an operator needs to know of it.
#[derive(Clone, Copy, Debug)]
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

/// Name, meaning, whether it only grows.
type Field = (&'static str, &'static str, bool);

/// All counters, in the order of `Metrics::words`.
pub(super) const FIELDS: [Field; 25] = [
    ("in_flight", "Operations that have been started and not answered for good.", false),
    ("tasks", "Tasks that are not done.", false),
    ("timers", "Timers that are armed.", false),
    ("turns", "Turns of the core's loop.", true),
    ("polls", "Times that a task was run.", true),
    ("entries", "System calls made to submit and to wait.", true),
    ("submissions", "Entries handed to the ring.", true),
    ("completions", "Completions and readiness events taken.", true),
    ("overflows", "Times that the completion queue overflowed.", true),
    ("stale", "Completions that came for an operation that was over.", true),
    ("out_of_buffers", "Receives that found no buffer.", true),
    ("cancels", "Operations that were asked to end.", true),
    ("leases", "Leases that have not come back.", false),
    ("buffers", "Buffers that have memory.", false),
    ("relayed_copied", "Bytes that relays have received into buffers.", true),
    ("relayed_spliced", "Bytes that relays have received into pipes.", true),
    ("notifies", "System calls that other threads made to wake the core.", true),
    ("wakes", "Times that a task was woken.", true),
    ("remote_wakes", "Wakes and new tasks from other threads.", true),
    ("ready", "Tasks that wait to be run.", false),
    ("refusals", "Tasks from other threads that were refused.", true),
    ("stalls", "Times that a task held the core for too long.", true),
    ("in_tasks_ns", "Nanoseconds spent in tasks (estimate).", true),
    ("on_processor_ns", "Nanoseconds that the core's thread has been on a processor.", true),
    ("uptime_ns", "Nanoseconds since the core was started.", true),
];

impl Metrics {
    /// All counters, each with its name and meaning: for whoever shows them.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        let values = self.words();
        let counter = |((name, help, grows), value)| Counter { name, help, grows, value };
        FIELDS.into_iter().zip(values).map(counter)
    }

    /// The counters in the order of `FIELDS`.
    pub(super) fn words(&self) -> [u64; FIELDS.len()] {
        [
            self.in_flight,
            self.tasks,
            self.timers,
            self.turns,
            self.polls,
            self.entries,
            self.submissions,
            self.completions,
            self.overflows,
            self.stale,
            self.out_of_buffers,
            self.cancels,
            self.leases,
            self.buffers,
            self.relayed_copied,
            self.relayed_spliced,
            self.notifies,
            self.wakes,
            self.remote_wakes,
            self.ready,
            self.refusals,
            self.stalls,
            self.in_tasks_ns,
            self.on_processor_ns,
            self.uptime_ns,
        ]
    }

    pub(super) fn from_words(backend: Backend, words: [u64; FIELDS.len()]) -> Metrics {
        let mut words = words.into_iter();
        let mut next = || words.next().unwrap_or_default();
        // The fields of a literal are evaluated in the order in which they are written.
        Metrics {
            backend,
            in_flight: next(),
            tasks: next(),
            timers: next(),
            turns: next(),
            polls: next(),
            entries: next(),
            submissions: next(),
            completions: next(),
            overflows: next(),
            stale: next(),
            out_of_buffers: next(),
            cancels: next(),
            leases: next(),
            buffers: next(),
            relayed_copied: next(),
            relayed_spliced: next(),
            notifies: next(),
            wakes: next(),
            remote_wakes: next(),
            ready: next(),
            refusals: next(),
            stalls: next(),
            in_tasks_ns: next(),
            on_processor_ns: next(),
            uptime_ns: next(),
        }
    }

    /// Fills in what the kernel counts.
    pub(super) fn measure(&mut self, load: &LoadMeter) {
        let (used, uptime) = load.used();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        (self.on_processor_ns, self.uptime_ns) = (nanos(used), nanos(uptime));
    }
}

/// Bytes that relays have received, by the path that they took.
#[derive(Default)]
pub(crate) struct Relayed {
    pub(crate) copied: Cell<u64>,
    pub(crate) spliced: Cell<u64>,
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
