//! What things cost on this machine. Medians of many rounds, since single ones mean nothing in a
//! virtual machine.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::checks::pair;
use super::Cost;
use crate::driver::{select, Config};
use crate::probe::trial::Trial;
use crate::probe::Patience;
use crate::sys::scratch;

/// How long each is measured, and in how many rounds.
const TIME: Duration = Duration::from_millis(25);
const ROUNDS: u32 = 25;

/// All that can be set up here.
pub(super) fn all() -> Vec<Cost> {
    let lists = [system_call(), epoll(), ring(), loopback(), wake_up(), start()];
    lists.into_iter().flat_map(io::Result::unwrap_or_default).collect()
}

/// Measures what `once` costs.
fn measure(name: &str, mut once: impl FnMut() -> io::Result<()>) -> io::Result<Cost> {
    let began = Instant::now();
    let mut count = 0u32;
    while began.elapsed() < TIME / ROUNDS {
        once()?;
        count += 1;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..count {
            once()?;
        }
        rounds.push(began.elapsed().as_nanos() as u64 / u64::from(count));
    }
    rounds.sort_unstable();
    Ok(Cost {
        name: name.to_owned(),
        median_ns: rounds[rounds.len() / 2],
        least_ns: rounds[0],
        samples: u64::from(count) * u64::from(ROUNDS),
    })
}

fn system_call() -> io::Result<Vec<Cost>> {
    let once = || {
        black_box(std::os::unix::process::parent_id());
        Ok(())
    };
    Ok(vec![measure("a system call", once)?])
}

fn epoll() -> io::Result<Vec<Cost>> {
    let epoll = scratch::Epoll::new()?;
    Ok(vec![measure("epoll_wait with nothing to say", || epoll.wait_nothing())?])
}

fn ring() -> io::Result<Vec<Cost>> {
    const MANY: u32 = 8;
    let mut ring = Trial::open(Patience::until(Instant::now() + TIME))?;
    let one = measure("io_uring_enter with one no-op", || ring.no_ops(1))?;
    let many = measure("", || ring.no_ops(MANY))?;
    let each = |many: u64, one: u64| many.saturating_sub(one) / u64::from(MANY - 1);
    let more = Cost {
        name: "each further no-op in the same call".into(),
        median_ns: each(many.median_ns, one.median_ns),
        least_ns: each(many.least_ns, one.least_ns),
        samples: many.samples,
    };
    Ok(vec![one, more])
}

fn loopback() -> io::Result<Vec<Cost>> {
    const LENGTH: usize = 64;
    let (mut ours, mut theirs) = pair()?;
    // Sends that nobody reads would fill the connection: so both.
    let mut bytes = [0; LENGTH];
    let mut sends = Vec::new();
    let pairs = measure("a send and a recv of 64 bytes over loopback", || {
        let began = Instant::now();
        ours.write_all(&bytes)?;
        sends.push(began.elapsed().as_nanos() as u64);
        theirs.read_exact(&mut bytes)
    })?;
    sends.sort_unstable();
    let send = Cost {
        name: "of which the send".into(),
        median_ns: sends[sends.len() / 2],
        least_ns: sends[0],
        samples: sends.len() as u64,
    };
    Ok(vec![pairs, send])
}

/// What a core's start takes before its first task: few of them, since each ring is charged.
fn start() -> io::Result<Vec<Cost>> {
    const SAMPLES: usize = 11;
    let config = Config::default();
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        let (mut opened, _) = select(&config)?;
        times.push(began.elapsed().as_nanos() as u64);
        opened.driver.end();
    }
    times.sort_unstable();
    Ok(vec![Cost {
        name: "the choice of a backend, with its ring".into(),
        median_ns: times[SAMPLES / 2],
        least_ns: times[0],
        samples: SAMPLES as u64,
    }])
}

/// Two threads that wake each other in turn: half of a round is one way.
fn wake_up() -> io::Result<Vec<Cost>> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let other = thread::spawn(move || {
        let mut byte = [0];
        while theirs.read(&mut byte).is_ok_and(|count| count > 0) {
            if theirs.write_all(&byte).is_err() {
                return;
            }
        }
    });
    let mut byte = [0];
    let measured = measure("a sleeping thread woken by another", || {
        ours.write_all(&byte)?;
        ours.read_exact(&mut byte)
    });
    drop(ours);
    // It ends with the other end, and cannot panic.
    drop(other.join());
    let mut cost = measured?;
    (cost.median_ns, cost.least_ns) = (cost.median_ns / 2, cost.least_ns / 2);
    Ok(vec![cost])
}
