//! The servers that connections are forwarded to. They take turns; one that fails is passed over
//! while another works, rests for a second, and is then tried again in its turn.
//!
//! A failing upstream gets a line in the log when it starts to fail, one every ten seconds while
//! it goes on, and one when it works again.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringpark::net::TcpStream;
use tracing::{info, warn};

use crate::args::Address;
use crate::repeat::{kept_back, Repeat};

/// How long a failed upstream is tried only after all others.
const REST: Duration = Duration::from_secs(1);

/// All upstreams, shared by all cores.
#[derive(Debug)]
pub struct Upstreams {
    list: Vec<Upstream>,
    next: AtomicUsize,
    connect_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Upstream {
    address: Address,
    /// `None` while it works.
    down: Mutex<Option<Down>>,
    repeat: Repeat,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    failures: u64,
    rests_until: Instant,
}

impl Upstreams {
    /// Upstreams in the order of their turns; `connect_timeout` counts for each attempt.
    pub fn new(addresses: Vec<Address>, connect_timeout: Option<Duration>) -> Upstreams {
        let list = addresses
            .into_iter()
            .map(|address| Upstream { address, down: Mutex::new(None), repeat: Repeat::default() })
            .collect();
        Upstreams { list, next: AtomicUsize::new(0), connect_timeout }
    }

    /// Connects to the upstream whose turn it is, or to the next one that works. `None`: none of
    /// them does; each has said why in the log.
    ///
    /// Dropping this future gives the attempt up and closes its socket.
    pub async fn connect(&self) -> Option<TcpStream> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        for upstream in self.order(turn, Instant::now()) {
            match upstream.connect(self.connect_timeout).await {
                Ok(stream) => {
                    upstream.works();
                    return Some(stream);
                }
                Err(err) => upstream.fails(&err, Instant::now()),
            }
        }
        None
    }

    /// Every upstream once, from `turn` on; those at rest come last.
    fn order(&self, turn: usize, now: Instant) -> Vec<&Upstream> {
        let count = self.list.len();
        let in_turn = (0..count).map(|step| &self.list[turn.wrapping_add(step) % count]);
        let (resting, ready): (Vec<_>, Vec<_>) = in_turn.partition(|up| up.rests(now));
        ready.into_iter().chain(resting).collect()
    }
}

impl Upstream {
    async fn connect(&self, limit: Option<Duration>) -> io::Result<TcpStream> {
        match (&self.address, limit) {
            (Address::Fixed(addr), Some(limit)) => TcpStream::connect_timeout(*addr, limit).await,
            (Address::Fixed(addr), None) => TcpStream::connect(*addr).await,
            (Address::Named(name), Some(limit)) => {
                TcpStream::connect_timeout(name.as_str(), limit).await
            }
            (Address::Named(name), None) => TcpStream::connect(name.as_str()).await,
        }
    }

    fn rests(&self, now: Instant) -> bool {
        self.down().is_some_and(|down| now < down.rests_until)
    }

    fn works(&self) {
        let Some(down) = self.down().take() else { return };
        self.repeat.reset();
        info!("upstream {} works again after {} failed attempts", self.address, down.failures);
    }

    fn fails(&self, err: &io::Error, now: Instant) {
        let failures = self.down().map_or(0, |down| down.failures) + 1;
        *self.down() = Some(Down { failures, rests_until: now + REST });
        if let Some(count) = self.repeat.due(now) {
            warn!("cannot connect to upstream {}: {err}{}", self.address, kept_back(count));
        }
    }

    fn down(&self) -> MutexGuard<'_, Option<Down>> {
        // The value is replaced as a whole, so a panic elsewhere cannot have torn it.
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Upstreams {
        let fixed = |port| Address::Fixed(([127, 0, 0, 1], port).into());
        Upstreams::new(vec![fixed(1), fixed(2), fixed(3)], None)
    }

    fn ports(order: Vec<&Upstream>) -> Vec<u16> {
        order
            .into_iter()
            .map(|up| match &up.address {
                Address::Fixed(addr) => addr.port(),
                Address::Named(name) => panic!("no names here: {name}"),
            })
            .collect()
    }

    #[test]
    fn upstreams_take_turns() {
        let (upstreams, now) = (three(), Instant::now());
        assert_eq!(ports(upstreams.order(0, now)), [1, 2, 3]);
        assert_eq!(ports(upstreams.order(1, now)), [2, 3, 1]);
        assert_eq!(ports(upstreams.order(5, now)), [3, 1, 2]);
    }

    #[test]
    fn one_that_failed_comes_last_until_it_has_rested() {
        let (upstreams, now) = (three(), Instant::now());
        upstreams.list[0].fails(&io::ErrorKind::ConnectionRefused.into(), now);
        assert_eq!(ports(upstreams.order(0, now)), [2, 3, 1]);
        assert_eq!(ports(upstreams.order(2, now)), [3, 2, 1]);
        assert_eq!(ports(upstreams.order(0, now + REST)), [1, 2, 3]);
    }

    #[test]
    fn one_that_works_again_is_back_at_once() {
        let (upstreams, now) = (three(), Instant::now());
        upstreams.list[0].fails(&io::ErrorKind::ConnectionRefused.into(), now);
        upstreams.list[0].works();
        assert_eq!(ports(upstreams.order(0, now)), [1, 2, 3]);
    }

    #[test]
    fn when_all_have_failed_each_is_still_tried() {
        let (upstreams, now) = (three(), Instant::now());
        for upstream in &upstreams.list {
            upstream.fails(&io::ErrorKind::ConnectionRefused.into(), now);
        }
        assert_eq!(ports(upstreams.order(1, now)), [2, 3, 1]);
    }
}
