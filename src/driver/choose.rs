//! Which backend a core gets, and the line that says so.
//!
//! The environment comes before the builder, so that an operator can overrule a program that he
//! cannot change; both come before the automatic choice. A choice that is forced and fails is an
//! error. The automatic choice takes io_uring only where it is faster than epoll: with
//! `DEFER_TASKRUN` (Linux 6.1).

use std::env;
use std::io;
use std::sync::Arc;

use super::{Backend, Config, Driver, Engine, Feature, Opened, Ready, SetupError};
use crate::sys::EventFd;

#[cfg(target_os = "linux")]
use super::Uring;

/// Where a choice came from.
enum Choice {
    Forced(Backend, &'static str),
    Automatic,
}

/// Opens the driver of a core, and logs one line that names it.
pub(crate) fn choose(config: &Config) -> io::Result<Opened> {
    let (config, choice) = overruled(config)?;
    match choice {
        Choice::Forced(backend, by) => {
            Ok(open(backend, &config, |_| Ok(()), &format!("forced by {by}"))?)
        }
        Choice::Automatic => Ok(automatic(&config)?),
    }
}

/// The configuration as the environment has it.
fn overruled(config: &Config) -> io::Result<(Config, Choice)> {
    let mut config = config.clone();
    if let Some(list) = variable("RINGPARK_WITHOUT")? {
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let feature = name.parse().map_err(|e| bad_variable("RINGPARK_WITHOUT", e))?;
            config.features.remove(feature);
        }
    }
    if let Some(seed) = super::fault::seed_from_environment()? {
        config.faults = Some(seed);
    }
    let choice = match variable("RINGPARK_BACKEND")?.as_deref() {
        None | Some("") => match config.backend {
            Some(backend) => Choice::Forced(backend, "the builder"),
            None => Choice::Automatic,
        },
        Some("auto") => Choice::Automatic,
        Some(name) => {
            let backend = name.parse().map_err(|e| bad_variable("RINGPARK_BACKEND", e))?;
            Choice::Forced(backend, "RINGPARK_BACKEND")
        }
    };
    Ok((config, choice))
}

fn variable(name: &str) -> io::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(bad_variable(name, error)),
    }
}

fn bad_variable(name: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {error}"))
}

#[cfg(target_os = "linux")]
fn automatic(config: &Config) -> Result<Opened, SetupError> {
    let fast_enough = |uring: &Uring| match uring.is_deferred() {
        true => Ok(()),
        false => Err("io_uring here lacks DEFER_TASKRUN, without which epoll is faster".to_owned()),
    };
    let why_not = match open(Backend::Uring, config, fast_enough, "the best that works here") {
        Ok(opened) => return Ok(opened),
        Err(error) => error.to_string(),
    };
    let reason = format!("io_uring is not in use: {why_not}");
    let or_poll = |_| open(Backend::Poll, config, |_| Ok(()), &reason);
    open(Backend::Epoll, config, |_| Ok(()), &reason).or_else(or_poll)
}

/// Opens one backend, asks `accept` whether a ring will do, and logs.
#[cfg(target_os = "linux")]
fn open(
    backend: Backend,
    config: &Config,
    accept: impl FnOnce(&Uring) -> Result<(), String>,
    reason: &str,
) -> Result<Opened, SetupError> {
    let failed = |step, source| SetupError { backend, step, source, hint: String::new() };
    let eventfd = EventFd::new(backend != Backend::Uring).map_err(|e| failed("eventfd", e))?;
    let notifier = Arc::new(eventfd);
    let engine = match backend {
        Backend::Uring => {
            let uring = Uring::open(config, notifier.clone())?;
            accept(&uring).map_err(|hint| SetupError {
                hint,
                ..failed("comparing with epoll", io::Error::from_raw_os_error(libc::EOPNOTSUPP))
            })?;
            log_uring(&uring, config, reason);
            Engine::Uring(uring)
        }
        Backend::Epoll | Backend::Poll => {
            let ready = Ready::open(backend, notifier.clone())?;
            tracing::info!(target: "ringpark", %backend, reason, "core started");
            Engine::Ready(ready)
        }
    };
    Ok(Opened { driver: Driver::new(engine, backend, config), notifier })
}

#[cfg(target_os = "linux")]
fn log_uring(uring: &Uring, config: &Config, reason: &str) {
    let (features, refused, [submission, completion]) = uring.describe();
    let names = |features: &[Feature]| {
        features.iter().map(|feature| feature.name()).collect::<Vec<_>>().join("|")
    };
    let missing: Vec<String> = uring
        .missing()
        .map(|code| format!("{} (Linux {})", code.name(), code.row().kernel))
        .collect();
    let mut notes = Vec::new();
    if !refused.is_empty() {
        notes.push(format!("refused by the kernel: {}", names(refused)));
    }
    if !missing.is_empty() {
        notes.push(format!("polled and attempted: {}", missing.join(", ")));
    }
    if submission < config.submission_entries.next_power_of_two() {
        notes.push(super::uring::short_of_memory(config));
    }
    tracing::info!(
        target: "ringpark",
        backend = %Backend::Uring,
        flags = names(&features),
        entries = format_args!("{submission}/{completion}"),
        notes = notes.join("; "),
        reason,
        "core started"
    );
}
