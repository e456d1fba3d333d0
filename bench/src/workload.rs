//! The workloads: what is asked of every contestant, and in which unit it is paid.

use serde::{Deserialize, Serialize};

/// Bytes of a small message, request and answer alike.
pub const MESSAGE_SIZE: usize = 64;
/// Bytes that a connection echoes before it goes idle.
pub const IDLE_MESSAGE_SIZE: usize = 8000;

/// What the load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Closed loop of messages against an echo server.
    Echo {
        /// Connections, each with one message under way.
        connections: usize,
        /// Bytes of a message.
        size: usize,
    },
    /// Closed loop of messages against an echo server that has all CPUs: each fifth connection sends
    /// messages of 16 KiB, the others of 1 KiB, so that a fifth carries four fifths of the bytes.
    Skewed {
        /// Connections, each with one message under way.
        connections: usize,
    },
    /// Closed loop of messages through a relay to an origin that echoes.
    Relayed {
        /// Connections, each with one message under way.
        connections: usize,
        /// Bytes of a message.
        size: usize,
    },
    /// As fast as it goes in one direction through a relay.
    Bulk {
        /// Connections that send without pause.
        streams: usize,
        /// Whether for every 64 KiB that arrive a small message goes back.
        acknowledged: bool,
    },
    /// Connect, send one small message to an echo server, read the answer, close, and again.
    Churn {
        /// How many do so at the same time.
        connections: usize,
    },
    /// Arm a timer far ahead and cancel it before it fires. Needs no load process.
    Timers {
        /// How many timers stay armed.
        armed: usize,
    },
    /// Arm timers that all wait at once, cancel 99 of 100, and wait for the others. No load either.
    Deadlines {
        /// How many timers.
        armed: usize,
    },
    /// Connections that echoed once and then say nothing.
    Idle {
        /// How many of them.
        connections: usize,
    },
    /// Relayed connections whose messages went there and back once, and that say nothing then.
    IdlePairs {
        /// How many of them, each of which is two connections for the relay.
        pairs: usize,
    },
    /// A task is woken from another thread, which is the load.
    Wake {
        /// Whether its core has work to do, or sleeps.
        busy: bool,
    },
}

/// What a contestant must run for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Answers every byte with itself.
    Echo,
    /// The same on all CPUs that it may use.
    EchoOnAll,
    /// Connects every client to the origin, both directions.
    Relay,
    /// Arms and cancels timers.
    Timers,
    /// Is woken.
    Wake,
}

impl Shape {
    /// What a contestant must run for it.
    pub fn service(self) -> Service {
        match self {
            Self::Echo { .. } | Self::Churn { .. } | Self::Idle { .. } => Service::Echo,
            Self::Skewed { .. } => Service::EchoOnAll,
            Self::Relayed { .. } | Self::Bulk { .. } | Self::IdlePairs { .. } => Service::Relay,
            Self::Timers { .. } | Self::Deadlines { .. } => Service::Timers,
            Self::Wake { .. } => Service::Wake,
        }
    }
}

/// A workload's name, and how its figures are to be read. Costs are better small, rates large.
#[derive(Debug)]
pub struct Workload {
    /// What `--workload` calls it.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// What the load does.
    pub shape: Shape,
    /// The unit of the cost.
    pub cost_unit: &'static str,
    /// The rate's unit; empty if the workload has no rate.
    pub rate_unit: &'static str,
    /// Some costs do not vary from round to round: this many are enough.
    pub rounds_max: usize,
    /// Whether it runs without being named.
    pub usual: bool,
}

impl Workload {
    /// All workloads, in the order in which they run.
    pub const ALL: &'static [Self] = &[
        Self::echo("echo-1", "echo, 64 bytes, 1 connection", 1, MESSAGE_SIZE),
        Self::echo("echo-16", "echo, 64 bytes, 16 connections", 16, MESSAGE_SIZE).by_name(),
        Self::echo("echo-64", "echo, 64 bytes, 64 connections", 64, MESSAGE_SIZE),
        Self::echo("echo-1000", "echo, 64 bytes, 1000 connections", 1000, MESSAGE_SIZE),
        Self::echo("echo-1x4k", "echo, 4 KiB, 1 connection", 1, 4 << 10).by_name(),
        Self::echo("echo-16x4k", "echo, 4 KiB, 16 connections", 16, 4 << 10).by_name(),
        Self::echo("echo-64x4k", "echo, 4 KiB, 64 connections", 64, 4 << 10),
        Self::echo("echo-1000x4k", "echo, 4 KiB, 1000 connections", 1000, 4 << 10).by_name(),
        Self::echo("echo-1x64k", "echo, 64 KiB, 1 connection", 1, 64 << 10).by_name(),
        Self::echo("echo-16x64k", "echo, 64 KiB, 16 connections", 16, 64 << 10),
        Self::echo("echo-64x64k", "echo, 64 KiB, 64 connections", 64, 64 << 10).by_name(),
        Self::echo("echo-1000x64k", "echo, 64 KiB, 1000 connections", 1000, 64 << 10).by_name(),
        Self {
            shape: Shape::Skewed { connections: 256 },
            cost_unit: "ns, p99",
            ..Self::echo(
                "skewed-256",
                "echo on all CPUs, 256 connections of which a fifth carry 80 % of the bytes",
                256,
                MESSAGE_SIZE,
            )
            .by_name()
        },
        Self::relay("relay-64", "relay, 64 bytes, 64 connections", 64, MESSAGE_SIZE),
        Self::relay("relay-1000", "relay, 64 bytes, 1000 connections", 1000, MESSAGE_SIZE),
        Self::relay("relay-1x4k", "relay, 4 KiB, 1 connection", 1, 4 << 10).by_name(),
        Self::relay("relay-1x16k", "relay, 16 KiB, 1 connection", 1, 16 << 10).by_name(),
        Self::relay("relay-1x64k", "relay, 64 KiB, 1 connection", 1, 64 << 10).by_name(),
        Self::relay("relay-16x1k", "relay, 1 KiB, 16 connections", 16, 1 << 10).by_name(),
        Self::relay("relay-16x4k", "relay, 4 KiB, 16 connections", 16, 4 << 10).by_name(),
        Self::relay("relay-16x8k", "relay, 8 KiB, 16 connections", 16, 8 << 10).by_name(),
        Self::relay("relay-16x16k", "relay, 16 KiB, 16 connections", 16, 16 << 10).by_name(),
        Self::relay("relay-16x32k", "relay, 32 KiB, 16 connections", 16, 32 << 10).by_name(),
        Self::relay("relay-16x64k", "relay, 64 KiB, 16 connections", 16, 64 << 10).by_name(),
        Self::relay("relay-16x256k", "relay, 256 KiB, 16 connections", 16, 256 << 10).by_name(),
        Self::relay("relay-64x4k", "relay, 4 KiB, 64 connections", 64, 4 << 10).by_name(),
        Self::relay("relay-64x16k", "relay, 16 KiB, 64 connections", 64, 16 << 10).by_name(),
        Self::relay("relay-64x64k", "relay, 64 KiB, 64 connections", 64, 64 << 10).by_name(),
        Self::bulk("bulk-1", "bulk through a relay, 1 stream", 1),
        Self::bulk("bulk-16", "bulk through a relay, 16 streams", 16),
        Self::bulk("bulk-acked-1", "bulk, 1 stream, and 64 bytes back for each 64 KiB", 1).acked(),
        Self::bulk("bulk-acked-16", "bulk, 16 streams, and 64 bytes back for each 64 KiB", 16)
            .acked(),
        Self {
            name: "churn",
            about: "connect, one request of 64 bytes, close; 64 at a time",
            shape: Shape::Churn { connections: 64 },
            cost_unit: "CPU ns/connection",
            rate_unit: "connections/s",
            rounds_max: usize::MAX,
            usual: true,
        },
        Self {
            name: "timers",
            about: "arm a timer and cancel it, 1000 others armed",
            shape: Shape::Timers { armed: 1000 },
            cost_unit: "CPU ns/timer",
            rate_unit: "timers/s",
            rounds_max: usize::MAX,
            usual: true,
        },
        Self {
            name: "timers-1000000",
            about: "arm a million timers, cancel 99 % of them, wait for the others",
            shape: Shape::Deadlines { armed: 1_000_000 },
            cost_unit: "CPU ns/timer",
            rate_unit: "",
            rounds_max: usize::MAX,
            usual: true,
        },
        Self::wake("wake-sleeping", "wake a sleeping core from another thread", false),
        Self::wake("wake-busy", "wake a task of a busy core from another thread", true),
        Self {
            name: "idle-10000",
            about: "10,000 idle connections that echoed 8000 bytes each",
            shape: Shape::Idle { connections: 10_000 },
            cost_unit: "resident bytes/connection",
            rate_unit: "",
            rounds_max: 1,
            usual: true,
        },
        Self {
            // A relay by splice(2) has six descriptors a pair, of which 20,000 are common to have.
            name: "idle-pairs-2500",
            about: "2,500 idle relayed connections that carried 8000 bytes there and back each",
            shape: Shape::IdlePairs { pairs: 2_500 },
            cost_unit: "resident bytes/pair",
            rate_unit: "",
            rounds_max: 1,
            usual: true,
        },
    ];

    /// The workload of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|workload| workload.name == name)
    }

    const fn echo(
        name: &'static str,
        about: &'static str,
        connections: usize,
        size: usize,
    ) -> Self {
        Self {
            name,
            about,
            shape: Shape::Echo { connections, size },
            cost_unit: "CPU ns/request",
            rate_unit: "requests/s",
            rounds_max: usize::MAX,
            usual: true,
        }
    }

    const fn relay(
        name: &'static str,
        about: &'static str,
        connections: usize,
        size: usize,
    ) -> Self {
        Self {
            shape: Shape::Relayed { connections, size },
            ..Self::echo(name, about, connections, size)
        }
    }

    const fn bulk(name: &'static str, about: &'static str, streams: usize) -> Self {
        Self {
            shape: Shape::Bulk { streams, acknowledged: false },
            cost_unit: "CPU ns/KiB",
            rate_unit: "KiB/s",
            ..Self::echo(name, about, streams, MESSAGE_SIZE)
        }
    }

    const fn wake(name: &'static str, about: &'static str, busy: bool) -> Self {
        Self {
            shape: Shape::Wake { busy },
            cost_unit: "ns one way",
            rate_unit: "wakes/s",
            ..Self::echo(name, about, 1, MESSAGE_SIZE)
        }
    }

    /// A bulk workload with acknowledgements, by name.
    const fn acked(self) -> Self {
        let Shape::Bulk { streams, .. } = self.shape else { panic!("it is not bulk") };
        Self { shape: Shape::Bulk { streams, acknowledged: true }, ..self.by_name() }
    }

    const fn by_name(self) -> Self {
        Self { usual: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for workload in Workload::ALL {
            let found = Workload::named(workload.name).unwrap();
            assert_eq!(found.about, workload.about, "{} twice", workload.name);
        }
        assert!(Workload::named("echo-65").is_none());
    }

    #[test]
    fn every_echo_is_there_once_and_says_what_it_is() {
        for connections in [1, 16, 64, 1000] {
            for (size, suffix) in [(64, ""), (4096, "x4k"), (65536, "x64k")] {
                let workload = Workload::named(&format!("echo-{connections}{suffix}")).unwrap();
                assert_eq!(workload.shape, Shape::Echo { connections, size });
            }
        }
    }
}
