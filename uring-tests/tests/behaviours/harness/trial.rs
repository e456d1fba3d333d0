//! One trial: the parent starts this program again for it, the child runs it and judges itself.
//!
//! ```text
//! parent: start child ──▶ read its output until it ends, or kill it when the time is up
//! child:  count descriptors ──▶ body ──▶ count again ──▶ exit code
//! ```

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{mpsc, Mutex};
use std::time::{Duration, Instant};

use super::sys::{self, Descriptors};
use super::variant::{self, Variant};
use super::{log, Behaviour};

/// Names the trial that a child runs.
pub const ENV_TRIAL: &str = "RINGPARK_TESTS_TRIAL";

/// The trial that only finds out whether io_uring works here.
const PROBE: &str = "probe::uring";
/// What comes before the reason.
const REFUSED: &str = "refused: ";

/// How long a trial may take: far more than any needs, so that it means a hang.
const TIME_MAX: Duration = Duration::from_secs(300);

/// How many rings the trials that run at the same time have at most.
const CORES_MAX: u64 = 32;

/// How long each trial took.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// The trials that took longest, the longest first.
pub fn slowest(count: usize) -> Vec<(Duration, String)> {
    let mut times = TIMES.lock().expect("no trial panics while it holds this").clone();
    times.sort();
    times.into_iter().rev().take(count).collect()
}

/// Runs a trial in a child. The error holds all that it printed.
pub fn run_in_child(name: &str, seed: u64) -> Result<(), String> {
    let started = Instant::now();
    let result = watch(name, seed, started);
    let mut times = TIMES.lock().expect("no trial panics while it holds this");
    times.push((started.elapsed(), name.to_owned()));
    result
}

fn watch(name: &str, seed: u64, started: Instant) -> Result<(), String> {
    let mut child = start(name, seed)?;
    let outputs = [
        collect(child.stdout.take().expect("the output is piped")),
        collect(child.stderr.take().expect("the output is piped")),
    ];
    let mut printed = String::new();
    let mut timed_out = false;
    for output in outputs {
        let left = TIME_MAX.saturating_sub(started.elapsed());
        let bytes = output.recv_timeout(left).or_else(|_| {
            timed_out = true;
            stop(&mut child).and_then(|()| output.recv().map_err(|error| error.to_string()))
        })?;
        printed.push_str(&String::from_utf8_lossy(&bytes));
    }
    let status = child.wait().map_err(|error| format!("cannot wait for the child: {error}"))?;
    let again = format!("run it again: {}={seed} cargo test {name}", variant::ENV_SEED);
    if timed_out {
        return Err(format!("no end after {TIME_MAX:?}; {again}\n{printed}"));
    }
    if !status.success() {
        return Err(format!("{status}; {again}\n{printed}"));
    }
    Ok(())
}

/// Why io_uring cannot be used on this machine, if it is refused. A crash is no refusal: the trials
/// are to show it.
pub fn why_no_uring(seed: u64) -> Option<String> {
    let error = run_in_child(PROBE, seed).err()?;
    error.lines().find_map(|line| line.strip_prefix(REFUSED)).map(str::to_owned)
}

/// Runs a trial in this process.
pub fn run_here(name: &str, behaviours: &[&'static Behaviour]) -> ExitCode {
    if name == PROBE {
        let builder = ringpark::Builder::new().backend(ringpark::Backend::Uring);
        return match builder.block_on(async {}) {
            Ok(()) => match too_few_rings() {
                None => ExitCode::SUCCESS,
                Some(reason) => refused(&reason),
            },
            Err(error) => refused(&error.to_string()),
        };
    }
    let (variant, behaviour) = find(name, behaviours);
    log::install();
    let before = sys::descriptors();
    let ended = std::panic::catch_unwind(|| (behaviour.body)(&variant));
    let by_library = cfg!(ringpark_kqueue) && name.starts_with("kqueue");
    let left = || match by_library {
        true => without_forgotten_queues(sys::descriptors(), &before),
        false => sys::descriptors(),
    };
    let mut after = left();
    // A helper thread may hold a waker, and with it the core's notifier, for a moment longer.
    let end = Instant::now() + Duration::from_secs(2);
    while ended.is_ok() && after != before && Instant::now() < end {
        std::thread::yield_now();
        after = left();
    }
    if ended.is_err() {
        println!("log of the trial:\n{}", log::text());
        return ExitCode::FAILURE;
    }
    if before != after {
        println!("descriptors before: {before:#?}\ndescriptors after: {after:#?}");
        println!("log of the trial:\n{}", log::text());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn refused(reason: &str) -> ExitCode {
    println!("{REFUSED}{reason}");
    ExitCode::FAILURE
}

/// Why rings cannot be had by all trials that run at the same time, if they cannot: they would take
/// the user's locked memory from each other.
fn too_few_rings() -> Option<String> {
    let memory = ringpark::probe::report().memory;
    memory.cores_max.filter(|cores| *cores < CORES_MAX).map(|cores| {
        format!(
            "the limit of locked memory (RLIMIT_MEMLOCK) has room for {cores} rings, and trials that \
             run at the same time have up to {CORES_MAX}"
        )
    })
}

/// The library that stands in for a BSD's kernel (2.3.1) learns of a closed queue from a signal, and
/// keeps the queue's descriptors for ever if by then another thread's has the number: an epoll, which
/// ringpark itself makes none of on kqueue, an eventfd, and an end of a pipe.
fn without_forgotten_queues(mut open: Descriptors, before: &Descriptors) -> Descriptors {
    let new = |open: &Descriptors, kind: &str| {
        let found = open.iter().find(|(fd, target)| {
            !before.contains_key(fd) && target.to_string_lossy().starts_with(kind)
        });
        found.map(|(fd, _)| *fd)
    };
    while let Some(queue) = new(&open, "anon_inode:[eventpoll]") {
        let rest = ["anon_inode:[eventfd]", "pipe:"].map(|kind| new(&open, kind));
        for fd in rest.into_iter().flatten().chain([queue]) {
            open.remove(&fd);
        }
    }
    open
}

fn start(name: &str, seed: u64) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| format!("who am I: {error}"))?;
    Command::new(program)
        .env(ENV_TRIAL, name)
        .env(variant::ENV_SEED, seed.to_string())
        .env_remove("RINGPARK_BACKEND")
        .env_remove("RINGPARK_WITHOUT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start the child: {error}"))
}

fn stop(child: &mut Child) -> Result<(), String> {
    child.kill().map_err(|error| format!("cannot kill the child: {error}"))
}

/// Reads all of a child's output on a thread of its own, so that neither pipe can fill up.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Err(error) = pipe.read_to_end(&mut bytes) {
            bytes.extend_from_slice(format!("\n(output cut: {error})").as_bytes());
        }
        // The parent has given up on this child if nobody receives.
        drop(sender.send(bytes));
    });
    receiver
}

fn find(name: &str, behaviours: &[&'static Behaviour]) -> (Variant, &'static Behaviour) {
    for behaviour in behaviours {
        for variant in Variant::all(behaviour.on) {
            if name == format!("{variant}::{}", behaviour.name) {
                return (variant, behaviour);
            }
        }
    }
    panic!("there is no trial `{name}`");
}
