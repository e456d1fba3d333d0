//! The load generator: one io_uring loop in a process of its own, on a CPU of its own.
//!
//! It must cost less per request than any server it drives, so it has no runtime beneath it, and
//! it takes the time once per batch: when a batch was handed to the kernel, and when the next one
//! came back. The server's CPU clock is read here as well, at the very instants where counting
//! begins and ends.

mod bulk;
mod churn;
mod connect;
mod idle;
mod messages;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, RawFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::{resident_bytes, CpuClock};
use crate::stats::Histogram;
use crate::workload::Shape;

/// Longer than any contestant may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the harness tells the load process, as JSON on its command line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub shape: Shape,
    /// Where the contestant listens.
    pub server: SocketAddr,
    /// The contestant's process, whose CPU time is read.
    pub server_pid: u32,
    /// An inherited listener to which relays connect, if the contestant is one.
    pub origin_fd: Option<RawFd>,
    /// How long to run before counting.
    pub warm_up_ms: u64,
    /// How long to count.
    pub window_ms: u64,
}

/// What one run of one contestant gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// In the workload's cost unit.
    pub cost: f64,
    /// In the workload's rate unit.
    pub rate: Option<f64>,
    /// How long requests took, in a closed loop.
    pub latency: Option<Latency>,
    /// The server's resident memory at the end.
    pub resident_bytes: u64,
    /// The share of the window in which the server had its CPU: near 1 it was the bottleneck.
    pub server_busy: Option<f64>,
    /// The same for the load.
    pub load_busy: Option<f64>,
    /// How many connections got nothing in the window, though each had worked before it.
    pub starved: usize,
}

/// Quantiles of a closed loop's latency, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the requests were at least this fast.
    pub p50_ns: u64,
    /// All but one in 100.
    pub p99_ns: u64,
    /// All but one in 1000.
    pub p999_ns: u64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        Some(Self {
            p50_ns: histogram.quantile(0.5)?,
            p99_ns: histogram.quantile(0.99)?,
            p999_ns: histogram.quantile(0.999)?,
        })
    }
}

/// Carries out an order.
pub fn run(order: &Order) -> io::Result<Sample> {
    match order.shape {
        Shape::Echo { connections, size } => messages::run(order, &vec![size; connections], None),
        Shape::Skewed { connections } => messages::run_skewed(order, connections),
        Shape::Relayed { connections, size } => {
            messages::run(order, &vec![size; connections], Some(&origin(order)?))
        }
        Shape::Bulk { streams, acknowledged } => {
            bulk::run(order, streams, acknowledged, &origin(order)?)
        }
        Shape::Churn { connections } => churn::run(order, connections),
        Shape::Idle { connections } => idle::run(order, connections, None),
        Shape::IdlePairs { pairs } => idle::run(order, pairs, Some(&origin(order)?)),
        Shape::Timers { .. } | Shape::Deadlines { .. } | Shape::Wake { .. } => {
            Err(invalid("it is not driven from outside"))
        }
    }
}

fn origin(order: &Order) -> io::Result<TcpListener> {
    let fd = order.origin_fd.ok_or_else(|| invalid("a relay was ordered without an origin"))?;
    // SAFETY: the harness left this descriptor open for this process alone, which takes it once.
    Ok(unsafe { TcpListener::from_raw_fd(fd) })
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing counts yet.
    WarmUp,
    /// This is what is measured.
    Counting,
    /// Enough.
    Over,
}

/// The measured window, and the CPU time that server and load used in it.
struct Window {
    begin: Instant,
    length: Duration,
    server_pid: u32,
    clocks: [CpuClock; 2],
    opened: Option<(Instant, [Duration; 2])>,
}

/// What a closed window knows.
struct Measured {
    wall: Duration,
    server: Duration,
    load: Duration,
    resident_bytes: u64,
}

impl Window {
    fn new(order: &Order) -> io::Result<Self> {
        Ok(Self {
            begin: Instant::now() + Duration::from_millis(order.warm_up_ms),
            length: Duration::from_millis(order.window_ms),
            server_pid: order.server_pid,
            clocks: [CpuClock::of(order.server_pid)?, CpuClock::of(0)?],
            opened: None,
        })
    }

    /// Where the run stands at `now`. The first call after the warm-up reads the clocks.
    fn phase(&mut self, now: Instant) -> io::Result<Phase> {
        match self.opened {
            None if now < self.begin => Ok(Phase::WarmUp),
            None => {
                self.opened = Some((now, self.used()?));
                Ok(Phase::Counting)
            }
            Some((opened, _)) if now < opened + self.length => Ok(Phase::Counting),
            Some(_) => Ok(Phase::Over),
        }
    }

    /// Reads the clocks again. To be called as soon as `phase` has said that it is over.
    fn close(self, now: Instant) -> io::Result<Measured> {
        let (opened, before) = self.opened.expect("a window is closed after it was opened");
        let after = self.used()?;
        Ok(Measured {
            wall: now - opened,
            server: after[0] - before[0],
            load: after[1] - before[1],
            resident_bytes: resident_bytes(self.server_pid)?,
        })
    }

    fn used(&self) -> io::Result<[Duration; 2]> {
        Ok([self.clocks[0].used()?, self.clocks[1].used()?])
    }
}

impl Measured {
    /// The sample of a window in which `units` were served. `shares` is what each connection got.
    fn sample(
        &self,
        units: f64,
        shares: impl Iterator<Item = u64>,
        latency: Option<Latency>,
    ) -> io::Result<Sample> {
        if units <= 0.0 {
            return Err(invalid("nothing was served in the whole window"));
        }
        let wall = self.wall.as_secs_f64();
        Ok(Sample {
            cost: self.server.as_nanos() as f64 / units,
            rate: Some(units / wall),
            latency,
            resident_bytes: self.resident_bytes,
            server_busy: Some(self.server.as_secs_f64() / wall),
            load_busy: Some(self.load.as_secs_f64() / wall),
            starved: shares.filter(|share| *share == 0).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use tempfile::TempDir;

    use super::*;
    use crate::contestants::{self, Contestant};
    use crate::harness;
    use crate::workload::{Service, MESSAGE_SIZE};

    fn order(warm_up_ms: u64, window_ms: u64) -> Order {
        Order {
            shape: Shape::Echo { connections: 1, size: MESSAGE_SIZE },
            server: ([127, 0, 0, 1], 1).into(),
            server_pid: std::process::id(),
            origin_fd: None,
            warm_up_ms,
            window_ms,
        }
    }

    #[test]
    fn a_window_opens_after_the_warm_up_and_lasts_its_length() {
        let mut window = Window::new(&order(1000, 500)).unwrap();
        let begin = window.begin;
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(window.phase(begin - Duration::from_millis(1)).unwrap(), Phase::WarmUp);
        // A late first look moves the window; it does not shorten it.
        assert_eq!(window.phase(at(100)).unwrap(), Phase::Counting);
        assert_eq!(window.phase(at(599)).unwrap(), Phase::Counting);
        assert_eq!(window.phase(at(600)).unwrap(), Phase::Over);
        let measured = window.close(at(600)).unwrap();
        assert_eq!(measured.wall, Duration::from_millis(500));
        assert!(measured.resident_bytes > 0);
    }

    #[test]
    fn a_sample_is_server_time_per_unit() {
        let measured = Measured {
            wall: Duration::from_secs(2),
            server: Duration::from_secs(1),
            load: Duration::from_millis(500),
            resident_bytes: 7,
        };
        let sample = measured.sample(1000.0, [400, 0, 600].into_iter(), None).unwrap();
        assert_eq!(sample.cost, 1e6);
        assert_eq!(sample.rate, Some(500.0));
        assert_eq!((sample.server_busy, sample.load_busy), (Some(0.5), Some(0.25)));
        assert_eq!(sample.starved, 1);
        assert!(measured.sample(0.0, [0].into_iter(), None).is_err());
    }

    /// Runs a contestant in a thread of this process, and the load against it here.
    fn served(
        contestant: &'static dyn Contestant,
        shape: Shape,
        scratch: &TempDir,
    ) -> io::Result<Sample> {
        let origin = match shape.service() {
            Service::Relay => Some(TcpListener::bind("127.0.0.1:0")?),
            _ => None,
        };
        let served = match &origin {
            Some(origin) => {
                let bulk = matches!(shape, Shape::Bulk { .. });
                contestants::Order::Relay { origin: origin.local_addr()?, bulk }
            }
            None if shape.service() == Service::EchoOnAll => contestants::Order::EchoOnAll,
            None => contestants::Order::Echo,
        };
        let cpus = harness::Cpus::choose()?;
        if let Some((running, server)) =
            harness::program(contestant, &served, scratch.path(), &cpus)?
        {
            let origin_fd = origin.map(|origin| origin.into_raw_fd());
            let server_pid = running.pid();
            return run(&Order { shape, server, server_pid, origin_fd, ..order(10, 40) });
        }
        let (say, said) = std::sync::mpsc::channel();
        // It serves for as long as this process lives.
        std::thread::spawn(move || {
            let announce = |address| say.send(address).map_err(io::Error::other);
            contestant.serve(&served, &announce)
        });
        let server = said.recv().map_err(io::Error::other)?;
        let origin_fd = origin.map(|origin| origin.into_raw_fd());
        run(&Order { shape, server, origin_fd, ..order(10, 40) })
    }

    #[test]
    fn every_contestant_serves_what_it_offers() {
        if let Err(error) = crate::ring::open(8, 8) {
            crate::skipped(format_args!("the load, which needs io_uring: {error}"));
            return;
        }
        crate::process::raise_descriptor_limit().unwrap();
        let scratch = TempDir::new().unwrap();
        for contestant in contestants::ALL {
            if let Err(error) = contestant.prepare(scratch.path()) {
                crate::skipped(format_args!("{}: {error}", contestant.name()));
                continue;
            }
            let shapes = [
                Shape::Echo { connections: 4, size: MESSAGE_SIZE },
                Shape::Echo { connections: 3, size: 64 * 1024 },
                Shape::Skewed { connections: 20 },
                Shape::Churn { connections: 4 },
                Shape::Idle { connections: 100 },
                Shape::Relayed { connections: 4, size: MESSAGE_SIZE },
                Shape::Relayed { connections: 3, size: 256 * 1024 },
                Shape::Bulk { streams: 2, acknowledged: false },
                Shape::Bulk { streams: 2, acknowledged: true },
                Shape::IdlePairs { pairs: 100 },
            ];
            for shape in shapes.into_iter().filter(|shape| contestant.offers(*shape)) {
                match served(*contestant, shape, &scratch) {
                    Ok(sample) => assert!(sample.resident_bytes > 0),
                    Err(error) => panic!("{} at {shape:?}: {error}", contestant.name()),
                }
            }
        }
    }

    #[test]
    fn every_contestant_measures_what_it_offers() {
        let ringer_cpu = *crate::process::allowed_cpus().unwrap().last().unwrap();
        let wake = |busy| contestants::Order::Wake { busy, ringer_cpu, window_ms: 10 };
        let orders = [
            (
                Shape::Timers { armed: 100 },
                contestants::Order::Timers { armed: 100, warm_up_ms: 1, window_ms: 10 },
            ),
            (Shape::Deadlines { armed: 300 }, contestants::Order::Deadlines { armed: 300 }),
            (Shape::Wake { busy: false }, wake(false)),
            (Shape::Wake { busy: true }, wake(true)),
        ];
        let uring = crate::ring::open(8, 8).is_ok();
        let elsewhere = ["ringpark-epoll", "ringpark-poll", "tokio", "raw-epoll"];
        for contestant in contestants::ALL {
            if !orders.iter().any(|(shape, _)| contestant.offers(*shape)) {
                continue;
            }
            if !uring && !elsewhere.contains(&contestant.name()) {
                crate::skipped(format_args!("{}, which wants io_uring, or may", contestant.name()));
                continue;
            }
            for (shape, order) in orders.iter().filter(|(shape, _)| contestant.offers(*shape)) {
                match contestant.measure(order) {
                    Ok(sample) => assert!(sample.cost > 0.0, "{} {shape:?}", contestant.name()),
                    Err(error) => panic!("{} at {shape:?}: {error}", contestant.name()),
                }
            }
        }
    }

    #[test]
    fn an_order_survives_the_command_line() {
        let text = serde_json::to_string(&order(1, 2)).unwrap();
        let back: Order = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{:?}", order(1, 2)), format!("{back:?}"));
    }
}
