//! The contestants, one file each. To add one: write its file, and name it in `ALL`, or in the list of
//! `peers` if it brings crates along.

mod movable;
mod programs;
mod raw_epoll;
mod raw_uring;
mod raw_wake;
mod ringpark;
pub mod timers;
mod tokio;
pub mod wake;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::load::Sample;
use crate::workload::Shape;

/// What the harness tells a contestant's process, as JSON on its command line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Echo what comes.
    Echo,
    /// The same, on as many cores as the process may use CPUs.
    EchoOnAll,
    /// Connect each client to this address.
    Relay {
        /// Where the load listens.
        origin: SocketAddr,
        /// Whether it is bulk in one direction: some servers are set up for that.
        bulk: bool,
    },
    /// Churn timers, and report.
    Timers {
        /// How many stay armed.
        armed: usize,
        /// How long to run before counting.
        warm_up_ms: u64,
        /// How long to count.
        window_ms: u64,
    },
    /// Arm so many timers, cancel most, wait for the others, and report.
    Deadlines {
        /// How many are armed at once.
        armed: usize,
    },
    /// Be woken from another thread, and report.
    Wake {
        /// Whether the core is busy, or sleeps.
        busy: bool,
        /// Where the other thread runs.
        ringer_cpu: usize,
        /// How long to count.
        window_ms: u64,
    },
}

/// A server, or a runtime with one.
pub trait Contestant: Sync {
    /// What `--contestant` and the tables call it.
    fn name(&self) -> &'static str;

    /// One line for people: what exactly runs.
    fn about(&self) -> &'static str;

    /// Whether it has something to run for this.
    fn offers(&self, shape: Shape) -> bool;

    /// Whether it takes part without being named.
    fn is_usual(&self) -> bool {
        true
    }

    /// Called once before everything else. An error says why it cannot be had here, and leaves it
    /// out; `scratch` is a directory for whatever it needs, until the harness ends.
    fn prepare(&self, scratch: &Path) -> io::Result<()> {
        let _ = scratch;
        Ok(())
    }

    /// A program that is not this one, ready to be started. It must listen on `port`.
    ///
    /// `None`: the harness starts itself again and calls `serve` or `measure` there.
    fn program(&self, order: &Order, port: u16, scratch: &Path) -> io::Result<Option<Command>> {
        let (_, _, _) = (order, port, scratch);
        Ok(None)
    }

    /// Serves forever, on one thread unless the order says otherwise. `announce` is called once it listens.
    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let _ = announce;
        Err(unfit(self.name(), order))
    }

    /// Carries out an order that needs no load, and reports.
    fn measure(&self, order: &Order) -> io::Result<Sample> {
        Err(unfit(self.name(), order))
    }
}

/// How a contestant says where it listens.
pub type Announce<'a> = &'a dyn Fn(SocketAddr) -> io::Result<()>;

/// The contestants of this package, in the order in which they take their turns.
pub const ALL: &[&dyn Contestant] = &[
    &ringpark::Ringpark::URING,
    &ringpark::Ringpark::EPOLL,
    &ringpark::Ringpark::POLL,
    &ringpark::Ringpark::SPINNING,
    &ringpark::Ringpark::UNWATCHED,
    &ringpark::Ringpark::COPY,
    &ringpark::Ringpark::SPLICE,
    &ringpark::Ringpark::EPOLL_COPY,
    &ringpark::Ringpark::EPOLL_SPLICE,
    &tokio::Tokio::DEFAULT,
    &tokio::Tokio::LARGE,
    &programs::Go,
    &programs::HaProxy::SPLICE,
    &programs::HaProxy::COPY,
    &programs::Nginx::DEFAULT,
    &programs::Nginx::LARGE,
    &raw_uring::RawUring,
    &raw_epoll::RawEpoll::COPY,
    &raw_epoll::RawEpoll::SPLICE,
    &timers::NoTimers,
];

/// A ratio column: how every contestant stands to this one.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The column's heading.
    pub title: &'static str,
    /// The contestants to choose from: the one with the lowest median cost is the reference.
    pub contestants: &'static [&'static str],
}

/// What contestants are compared with.
pub const REFERENCES: &[Reference] = &[
    Reference { title: "/epoll", contestants: &["ringpark-epoll"] },
    Reference { title: "/tokio", contestants: &["tokio"] },
    Reference { title: "/unwatched", contestants: &["ringpark-unwatched"] },
    Reference {
        title: "/forced",
        contestants: &[
            "ringpark-copy",
            "ringpark-splice",
            "ringpark-epoll-copy",
            "ringpark-epoll-splice",
        ],
    },
    Reference { title: "/floor", contestants: &["raw-uring", "raw-epoll", "raw-splice"] },
];

/// The contestant of this name.
pub fn named(all: &[&'static dyn Contestant], name: &str) -> Option<&'static dyn Contestant> {
    all.iter().find(|contestant| contestant.name() == name).copied()
}

/// The life of a contestant's process.
pub fn run(contestant: &dyn Contestant, order: &Order) -> io::Result<()> {
    match order {
        Order::Echo | Order::EchoOnAll | Order::Relay { .. } => {
            contestant.serve(order, &|address| say(&address.to_string()))
        }
        _ => say(&serde_json::to_string(&contestant.measure(order)?)?),
    }
}

/// The error of a contestant that was asked for what it does not offer.
pub fn unfit(name: &str, order: &Order) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{name} has nothing to run for {order:?}"))
}

/// The listener of every contestant in this program: who serves differs, not what is set up.
///
/// What it accepts is without delay, which Linux takes over from here: a large answer that is
/// written in pieces waits 40 ms for an acknowledgement otherwise. Towards an origin, relays keep
/// the kernel's default: without delay the ones that copy would pay for a packet with each buffer.
/// Go, HAProxy and nginx have their own opinion, which is no delay on either side.
pub fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// One line to whoever started this process.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn names_are_unique_and_found() {
        for contestant in ALL {
            let found = named(ALL, contestant.name()).expect("found by its own name");
            assert_eq!(found.about(), contestant.about(), "{} twice", contestant.name());
        }
        assert!(named(ALL, "nobody").is_none());
    }

    #[test]
    fn every_contestant_offers_something() {
        for contestant in ALL {
            let mut shapes = Workload::ALL.iter().map(|workload| workload.shape);
            assert!(shapes.any(|shape| contestant.offers(shape)), "{}", contestant.name());
        }
    }
}
