//! Which backend a core gets, and the line that says so.
//!
//! The environment comes before the builder, so that an operator can overrule a program that he
//! cannot change; both come before the automatic choice. A choice that is forced and fails is an
//! error. The automatic choice is the first of `Backend::HERE` that works, and of io_uring that is
//! faster than epoll: with `DEFER_TASKRUN` (Linux 6.1).

use std::env;
use std::io;

use super::{Backend, Config, Driver, Engine, Opened, Ready, SetupError, Uring};

/// Where a choice came from.
enum Choice {
    Forced(Backend, &'static str),
    Automatic,
}

/// Whether a backend is to be had even where another is faster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forced {
    Yes,
    No,
}

/// Opens the driver of a core, and logs one line that names it.
pub(crate) fn choose(config: &Config) -> io::Result<Opened> {
    let (config, choice) = overruled(config)?;
    match choice {
        Choice::Forced(backend, by) => {
            Ok(open(backend, &config, Forced::Yes, &format!("forced by {by}"))?)
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

fn automatic(config: &Config) -> Result<Opened, SetupError> {
    let mut why_not = Vec::new();
    let mut last = None;
    for &backend in Backend::HERE {
        let reason = match why_not.is_empty() {
            true => "the best that works here".to_owned(),
            false => why_not.join("; "),
        };
        match open(backend, config, Forced::No, &reason) {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                let name = if backend == Backend::Uring { "io_uring" } else { backend.name() };
                why_not.push(format!("{name} is not in use: {error}"));
                last = Some(error);
            }
        }
    }
    Err(last.expect("every system has a backend"))
}

/// Opens one backend, and logs.
fn open(
    backend: Backend,
    config: &Config,
    forced: Forced,
    reason: &str,
) -> Result<Opened, SetupError> {
    let (engine, notifier) = match backend {
        Backend::Uring => {
            let uring = Uring::open(config)?;
            if forced == Forced::No && !uring.is_deferred() {
                return Err(SetupError {
                    backend,
                    step: "comparing with epoll",
                    source: io::Error::from_raw_os_error(libc::EOPNOTSUPP),
                    hint: "io_uring here lacks DEFER_TASKRUN, without which epoll is faster"
                        .to_owned(),
                });
            }
            uring.log(config, reason);
            let notifier = uring.notifier();
            (Engine::Uring(uring), notifier)
        }
        _ => {
            let ready = Ready::open(backend)?;
            tracing::info!(target: "ringpark", %backend, reason, "core started");
            let notifier = ready.notifier();
            (Engine::Ready(ready), notifier)
        }
    };
    Ok(Opened { driver: Driver::new(engine, backend, config), notifier })
}
