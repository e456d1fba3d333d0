//! Which backend a core gets, and the line that says so.
//!
//! The environment comes before the builder, so that an operator can overrule a program that he
//! cannot change; both come before the automatic choice. A choice that is forced and fails is an
//! error. The automatic choice is the first of `Backend::SUPPORTED` that works, and of io_uring that is
//! faster than epoll: with `DEFER_TASKRUN` (Linux 6.1).

use std::env;
use std::io;

use super::any::{each, AnyEngine};
use super::capabilities::Capabilities;
use super::config::{Backend, Config, Feature};
use super::driver::{Driver, Opened};
use super::engine::Engine;
use super::error::SetupError;
use super::facts::RingFacts;
use super::ready::Ready;
#[cfg(target_os = "linux")]
use super::uring::Uring;
use crate::cause::{self, Cause};

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

/// What was chosen, and why: a line of the log, and the verdict of [`probe`](crate::probe).
pub(crate) struct Chosen {
    pub(crate) backend: Backend,
    /// Who or what decided.
    pub(crate) reason: String,
    /// The ring, where that is the backend.
    pub(crate) ring: Option<RingFacts>,
    /// Why it is none of the better ones.
    pub(crate) why_not: Vec<SetupError>,
    /// Features that were not wanted.
    pub(crate) unwanted: Vec<Feature>,
}

/// Opens the driver of a core, and logs one line that names it.
pub(crate) fn choose(config: &Config) -> io::Result<Opened> {
    let (opened, chosen) = select(config)?;
    chosen.log();
    Ok(opened)
}

/// Opens one backend, whatever is chosen.
pub(crate) fn open_one(backend: Backend, config: &Config) -> Result<Opened, SetupError> {
    open(backend, config, Forced::Yes, String::new()).map(|(opened, _)| opened)
}

/// Opens the driver of a core, and says what it is.
pub(crate) fn select(config: &Config) -> io::Result<(Opened, Chosen)> {
    let (config, choice) = overruled(config)?;
    match choice {
        Choice::Forced(backend, by) => {
            Ok(open(backend, &config, Forced::Yes, format!("forced by {by}"))?)
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

fn automatic(config: &Config) -> Result<(Opened, Chosen), SetupError> {
    let mut why_not: Vec<SetupError> = Vec::new();
    for &backend in Backend::SUPPORTED {
        let said = |error: &SetupError| match error.backend() {
            Backend::Uring => format!("io_uring is not in use: {error}"),
            other => format!("{other} is not in use: {error}"),
        };
        let reason = match why_not.is_empty() {
            true => "the best that works here".to_owned(),
            false => why_not.iter().map(said).collect::<Vec<_>>().join("; "),
        };
        match open(backend, config, Forced::No, reason) {
            Ok((opened, chosen)) => return Ok((opened, Chosen { why_not, ..chosen })),
            Err(error) => why_not.push(error),
        }
    }
    Err(why_not.pop().expect("every system has a backend"))
}

/// Opens one backend.
fn open(
    backend: Backend,
    config: &Config,
    forced: Forced,
    reason: String,
) -> Result<(Opened, Chosen), SetupError> {
    let unwanted = |feature: &Feature| !config.features.has(*feature);
    let unwanted = Feature::ALL.iter().copied().filter(unwanted).collect();
    let (mut engine, ring) = match backend {
        #[cfg(target_os = "linux")]
        Backend::Uring => {
            let uring = Uring::open(config)?;
            let facts = uring.facts(config);
            (AnyEngine::Uring(uring), Some(facts))
        }
        _ => (AnyEngine::Ready(Ready::open(backend)?), None),
    };
    let slow = |ring: &RingFacts| !ring.is_deferred();
    if forced == Forced::No && ring.as_ref().is_some_and(slow) {
        let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        let cause = |_: &_| vec![Cause::Undeferred];
        return Err(SetupError::because(backend, "comparing with epoll", source, cause));
    }
    let splices = config.features.has(Feature::Splice);
    let (capabilities, notifier) =
        each!(&engine, engine => (engine.capabilities(), engine.notifier()));
    let capabilities = Capabilities { splices, ..capabilities };
    let buffers = each!(&mut engine, engine => engine.stream_buffers(config));
    let driver = Driver::new(engine, backend, config);
    let opened = Opened { driver, capabilities, buffers, notifier };
    Ok((opened, Chosen { backend, reason, ring, why_not: Vec::new(), unwanted }))
}

impl RingFacts {
    /// Whether completions are processed when the core asks for them.
    fn is_deferred(&self) -> bool {
        let needed = [Feature::DeferTaskrun, Feature::SingleIssuer];
        needed.iter().all(|feature| self.features.contains(feature))
    }
}

impl Chosen {
    fn log(&self) {
        let (backend, reason) = (self.backend, &self.reason);
        let Some(ring) = &self.ring else {
            tracing::info!(target: "ringpark", %backend, reason, "core started");
            return;
        };
        let names = |features: &[Feature]| {
            features.iter().map(|feature| feature.name()).collect::<Vec<_>>().join("|")
        };
        let mut notes = Vec::new();
        if !ring.refused.is_empty() {
            notes.push(format!("refused by the kernel: {}", names(&ring.refused)));
        }
        if !ring.missing.is_empty() {
            let missing: Vec<String> = ring
                .missing
                .iter()
                .map(|code| format!("{} (Linux {})", code.name(), code.row().kernel))
                .collect();
            notes.push(format!("polled and attempted: {}", missing.join(", ")));
        }
        notes.extend(ring.short_of.iter().map(|cause| cause::hint(std::slice::from_ref(cause))));
        let [submission, completion] = ring.entries;
        tracing::info!(
            target: "ringpark",
            %backend,
            flags = names(&ring.features),
            entries = format_args!("{submission}/{completion}"),
            notes = notes.join("; "),
            reason,
            "core started"
        );
    }
}
