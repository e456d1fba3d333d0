//! What the proxy has done so far: counted on all cores, said once at the end.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ringpark::io::Transferred;

/// Counts of connections and bytes. Statistics only: nothing is decided by them.
#[derive(Debug, Default)]
pub struct Totals {
    served: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    to_upstreams: AtomicU64,
    to_clients: AtomicU64,
}

/// How a connection that had reached an upstream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides had said all they wanted.
    Whole,
    /// A reset, or nothing said for longer than the idle timeout.
    Broken,
    /// The proxy itself ended it, because it had to stop.
    Cut,
}

impl Totals {
    /// A connection that reached an upstream has ended; side `a` of `bytes` is the client.
    pub fn ended(&self, ending: Ending, bytes: Transferred) {
        add(&self.to_upstreams, bytes.a_to_b);
        add(&self.to_clients, bytes.b_to_a);
        match ending {
            Ending::Whole => add(&self.served, 1),
            Ending::Broken => {
                add(&self.served, 1);
                add(&self.broken, 1);
            }
            Ending::Cut => add(&self.cut, 1),
        }
    }

    /// A client was sent away, because no upstream took its connection.
    pub fn refused(&self) {
        add(&self.refused, 1);
    }

    /// A client had to go before an upstream had answered, because the proxy had to stop.
    pub fn cut_unconnected(&self) {
        add(&self.cut, 1);
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Totals {
    /// Served, broken, refused, cut, bytes to upstreams, bytes to clients.
    pub fn values(&self) -> [u64; 6] {
        [&self.served, &self.broken, &self.refused, &self.cut, &self.to_upstreams, &self.to_clients]
            .map(|counter| counter.load(Ordering::Relaxed))
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [served, broken, refused, cut, to_upstreams, to_clients] = self.values();
        write!(
            f,
            "connections: {served} served ({broken} ended by an error or the idle timeout), \
             {refused} refused, {cut} cut; bytes: {to_upstreams} to upstreams, {to_clients} to \
             clients"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(a_to_b: u64, b_to_a: u64) -> Transferred {
        let mut carried = Transferred::default();
        (carried.a_to_b, carried.b_to_a) = (a_to_b, b_to_a);
        carried
    }

    #[test]
    fn every_ending_is_counted_in_its_place() {
        let totals = Totals::default();
        totals.ended(Ending::Whole, carried(1, 2));
        totals.ended(Ending::Broken, carried(10, 20));
        totals.ended(Ending::Cut, carried(100, 200));
        totals.refused();
        totals.cut_unconnected();
        assert_eq!(
            totals.to_string(),
            "connections: 2 served (1 ended by an error or the idle timeout), 1 refused, 2 cut; \
             bytes: 111 to upstreams, 222 to clients"
        );
    }
}
