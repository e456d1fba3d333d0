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
    /// Closed loop of small messages against an echo server.
    Echo {
        /// Connections, each with one message under way.
        connections: usize,
    },
    /// The same through a relay to an origin that echoes.
    Relayed {
        /// Connections, each with one message under way.
        connections: usize,
    },
    /// As fast as it goes in one direction through a relay.
    Bulk {
        /// Connections that send without pause.
        streams: usize,
    },
    /// Arm a timer far ahead and cancel it before it fires. Needs no load process.
    Timers {
        /// How many timers stay armed.
        armed: usize,
    },
    /// Connections that echoed once and then say nothing.
    Idle {
        /// How many of them.
        connections: usize,
    },
}

/// What a contestant must run for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Answers every byte with itself.
    Echo,
    /// Connects every client to the origin, both directions.
    Relay,
    /// Arms and cancels timers.
    Timers,
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
}

impl Workload {
    /// All workloads, in the order in which they run.
    pub const ALL: &'static [Self] = &[
        Self::echo("echo-1", "echo, 64 bytes, 1 connection", 1),
        Self::echo("echo-64", "echo, 64 bytes, 64 connections", 64),
        Self::echo("echo-1000", "echo, 64 bytes, 1000 connections", 1000),
        Self {
            shape: Shape::Relayed { connections: 64 },
            ..Self::echo("relay-64", "64 bytes there and back through a relay, 64 connections", 64)
        },
        Self::bulk("bulk-1", "bulk through a relay, 1 stream", 1),
        Self::bulk("bulk-16", "bulk through a relay, 16 streams", 16),
        Self {
            name: "timers",
            about: "arm a timer and cancel it, 1000 others armed",
            shape: Shape::Timers { armed: 1000 },
            cost_unit: "CPU ns/timer",
            rate_unit: "timers/s",
            rounds_max: usize::MAX,
        },
        Self {
            name: "idle-10000",
            about: "10,000 idle connections that echoed 8000 bytes each",
            shape: Shape::Idle { connections: 10_000 },
            cost_unit: "resident bytes/connection",
            rate_unit: "",
            rounds_max: 1,
        },
    ];

    /// The workload of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|workload| workload.name == name)
    }

    /// What a contestant must run for it.
    pub fn service(&self) -> Service {
        match self.shape {
            Shape::Echo { .. } | Shape::Idle { .. } => Service::Echo,
            Shape::Relayed { .. } | Shape::Bulk { .. } => Service::Relay,
            Shape::Timers { .. } => Service::Timers,
        }
    }

    const fn echo(name: &'static str, about: &'static str, connections: usize) -> Self {
        Self {
            name,
            about,
            shape: Shape::Echo { connections },
            cost_unit: "CPU ns/request",
            rate_unit: "requests/s",
            rounds_max: usize::MAX,
        }
    }

    const fn bulk(name: &'static str, about: &'static str, streams: usize) -> Self {
        Self {
            name,
            about,
            shape: Shape::Bulk { streams },
            cost_unit: "CPU ns/KiB",
            rate_unit: "KiB/s",
            rounds_max: usize::MAX,
        }
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
}
