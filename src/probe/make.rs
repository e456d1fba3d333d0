//! Makes a report.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{here, Patience};
use super::{Check, Cost, Finding, Group, Off, Outcome, Report, Verdict, SCHEMA};
use crate::cause::Cause;
use crate::driver::{open_one, select, Backend, Chosen, Config, Feature, SetupError, Wait};
use crate::sys::errno;

/// How long, all in all, the trials wait for memory that rings before them have given back.
const FOR_MEMORY: Duration = Duration::from_millis(200);

/// Tries everything, and says what came of it. It takes some tens of milliseconds, works without
/// privileges, and leaves nothing behind. The verdict follows `RINGPARK_BACKEND` and
/// `RINGPARK_WITHOUT`, as a core's start does.
///
/// Twice in its course a child process is made and waited for, which makes a few system calls: to
/// learn what would kill this one, and what happens without a limit that this one must not lose.
pub fn report() -> Report {
    report_with_routes(&[])
}

/// The same, with a zero-copy send to each of these addresses as well: one UDP datagram, 1200 bytes
/// of zeros, to say whether the kernel copies on that way out.
pub fn report_with_routes(destinations: &[SocketAddr]) -> Report {
    let began = Instant::now();
    let config = Config::default();
    let killer = here::killer();
    // First, as long as nothing else is charged to this user: it is what a core's start finds.
    let (verdict, chosen) = match &killer {
        Some(cause) => (killed(cause), None),
        None => verdict(&config),
    };
    // Nothing is tried where that would be the end, and nobody waits where there is no memory at all.
    let no_ring = chosen.as_ref().is_none_or(|chosen| chosen.ring.is_none());
    let wait = if no_ring { Duration::ZERO } else { FOR_MEMORY };
    let patience = killer.is_none().then(|| Patience::until(began + wait));
    let mut report = Report {
        schema: SCHEMA,
        ringpark: env!("CARGO_PKG_VERSION").to_owned(),
        verdict,
        checks: backends(&config, patience),
        ..Report::default()
    };
    here::complete(&mut report, &config, chosen.as_ref(), patience, destinations);
    report.took_us = began.elapsed().as_micros() as u64;
    report
}

/// Measures what things cost here, for [`Report::costs`]. It takes about a quarter of a second, in
/// which this thread and one more are busy.
pub fn costs() -> Vec<Cost> {
    here::costs()
}

/// What a core's start would come to, by starting one.
fn verdict(config: &Config) -> (Verdict, Option<Chosen>) {
    match select(config) {
        Ok((mut opened, chosen)) => {
            opened.driver.end();
            drop(opened);
            (chosen.verdict(), Some(chosen))
        }
        Err(error) => {
            let setup = error.get_ref().and_then(|inner| inner.downcast_ref::<SetupError>());
            let findings = setup.map_or_else(Vec::new, findings);
            (Verdict { reason: error.to_string(), findings, ..Verdict::none() }, None)
        }
    }
}

/// Where the attempt alone is deadly.
fn killed(cause: &Cause) -> Verdict {
    let forced = std::env::var("RINGPARK_BACKEND").unwrap_or_default();
    let mut verdict = Verdict::none();
    verdict.reason = format!("a core that tries io_uring is killed: {}", cause.words());
    if Backend::SUPPORTED.iter().any(|it| *it != Backend::Uring && it.name() == forced) {
        verdict.backend = forced;
        verdict.reason = "forced by RINGPARK_BACKEND".into();
    }
    verdict.findings = vec![cause.finding()];
    verdict
}

fn findings(error: &SetupError) -> Vec<Finding> {
    error.causes.iter().map(Cause::finding).collect()
}

impl Verdict {
    fn none() -> Verdict {
        Verdict { backend: "none".into(), ..Verdict::default() }
    }
}

impl Cause {
    fn finding(&self) -> Finding {
        let (cause, words) = (self.name().to_owned(), self.words());
        Finding { cause, words, remedies: self.remedies() }
    }
}

impl Chosen {
    /// The same for an operator.
    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::none();
        verdict.backend = self.backend.name().into();
        verdict.reason = self.reason.clone();
        verdict.findings = self.why_not.iter().flat_map(findings).collect();
        let Some(ring) = &self.ring else { return verdict };
        verdict.findings.extend(ring.short_of.iter().map(Cause::finding));
        [verdict.submission_entries, verdict.completion_entries] = ring.entries.map(Some);
        if let Some(pool) = ring.buffers {
            (verdict.buffers, verdict.buffer_bytes) = (Some(pool.count_max), Some(pool.size));
        }
        verdict.features = ring.features.iter().map(|feature| feature.name().into()).collect();
        for feature in Feature::ALL.iter().filter(|feature| !ring.features.contains(feature)) {
            let why = match feature {
                Feature::CoopTaskrun if ring.features.contains(&Feature::DeferTaskrun) => {
                    "defer-taskrun is better"
                }
                Feature::MultishotRecv | Feature::IncrementalBuffers
                    if ring.no_buffers == Some(errno::ENOMEM) =>
                {
                    "the locked-memory limit leaves no room for its buffers"
                }
                _ if self.unwanted.contains(feature) => "switched off by RINGPARK_WITHOUT",
                _ if ring.refused.contains(feature) => "this kernel refuses it",
                _ => "this kernel lacks it, or a policy forbids it",
            };
            verdict.off.push(Off { name: feature.name().into(), why: why.into() });
        }
        for code in &ring.missing {
            // Those are features, and named above.
            if Feature::ALL.iter().any(|feature| feature.operation() == Some(*code)) {
                continue;
            }
            let why = format!("polled and attempted: it takes Linux {}", code.row().kernel);
            verdict.off.push(Off { name: code.name().into(), why });
        }
        verdict
    }
}

/// Every backend, opened and woken up once.
fn backends(config: &Config, patience: Option<Patience>) -> Vec<Check> {
    let now = Patience::until(Instant::now());
    Backend::ALL
        .into_iter()
        .map(|backend| {
            let outcome = match (backend, patience) {
                (Backend::Uring, None) => {
                    Outcome::refused(errno::EPERM, Cause::SeccompKills.words())
                }
                (_, patience) => try_backend(backend, config, patience.unwrap_or(now)),
            };
            let since = match backend {
                Backend::Uring => Some("5.11".to_owned()),
                _ => None,
            };
            let name = backend.name().to_owned();
            Check { group: Group::Backend, name, outcome, note: None, since }
        })
        .collect()
}

/// Opens a backend, and lets another descriptor end its wait.
fn try_backend(backend: Backend, config: &Config, patience: Patience) -> Outcome {
    const PATIENCE: Duration = Duration::from_millis(250);
    let short = |error: &SetupError| error.errno() == errno::ENOMEM;
    let mut opened = match patience.for_memory(short, || open_one(backend, config)) {
        Ok(opened) => opened,
        Err(error) => {
            let words: Vec<String> = error.causes.iter().map(Cause::words).collect();
            let errno = error.errno();
            return match error.causes.first() {
                Some(Cause::NoRings | Cause::OldRing | Cause::NotHere(_)) => Outcome::Absent,
                _ => Outcome::refused(errno, words.join("; and ")),
            };
        }
    };
    let began = Instant::now();
    let mut batch = Vec::new();
    let turned =
        opened.notifier.raise().and_then(|()| opened.driver.turn(Wait::For(PATIENCE), &mut batch));
    let outcome = match turned {
        Err(error) => Outcome::broken(error.to_string()),
        Ok(()) if began.elapsed() >= PATIENCE => Outcome::broken("a wake-up never came"),
        Ok(()) => Outcome::Works,
    };
    opened.driver.end();
    outcome
}
