//! The harness: which trials there are, and how one is run in a process of its own.

pub mod alloc;
mod cores;
pub mod log;
mod paths;
pub mod pattern;
mod place;
mod skips;
pub mod support;
pub mod sys;
mod trial;
pub mod variant;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use skips::Skips;

pub use cores::{on_two_cores, on_two_cores_of};
pub(crate) use paths::relays;
pub use paths::{by, relay};
pub use pattern::{Checker, Pattern};
pub use place::Place;
pub use support::*;
pub use sys::pipe;
pub use variant::{On, Variant};

/// A promise, and the function that puts it to the test.
pub struct Behaviour {
    /// The name: what is promised.
    pub name: &'static str,
    /// The variants that it is run on.
    pub on: On,
    /// The test; it fails by panicking.
    pub body: fn(&Variant),
}

/// Registers functions as behaviours under their own names:
/// `behaviours![Every: "D1" => function, ...]`. Before the arrow stand the rows of docs/promises.md that
/// the behaviour keeps, with `|` between several; `ci/promises.py` reads them.
macro_rules! behaviours {
    ($($on:ident: $($row:literal)|+ => $function:ident),* $(,)?) => {
        &[$(crate::harness::Behaviour {
            name: stringify!($function),
            on: crate::harness::On::$on,
            body: $function,
        }),*]
    };
}
pub(crate) use behaviours;

/// Trials at a time, unless told otherwise: most of them wait more than they work.
const JOBS: usize = 4;

/// Runs the suite, or, in a child, the one trial that the environment names.
pub fn main(behaviours: &[&'static Behaviour]) -> ExitCode {
    if let Some(name) = std::env::var_os(trial::ENV_TRIAL) {
        let name = name.into_string().expect("the names of trials are text");
        return trial::run_here(&name, behaviours);
    }
    let mut arguments = Arguments::from_args();
    let jobs = std::env::var("RINGPARK_TESTS_JOBS").ok().map(|text| {
        text.parse().unwrap_or_else(|_| panic!("RINGPARK_TESTS_JOBS={text} is not a number"))
    });
    arguments.test_threads = arguments.test_threads.or(jobs).or(Some(JOBS));

    sys::raise_descriptor_limit();
    let seed = variant::seed_from_env().unwrap_or_else(|| fastrand::u64(..));
    let skips = match arguments.list {
        true => Skips::default(),
        false => Skips::here(seed),
    };
    if !arguments.list {
        println!("seed: {}={seed}", variant::ENV_SEED);
    }

    let mut trials = Vec::new();
    for behaviour in behaviours {
        for variant in Variant::all(behaviour.on) {
            let name = format!("{variant}::{}", behaviour.name);
            let skip = skips.why(behaviour, &variant);
            trials.push(Trial::ignorable_test(name.clone(), move || match skip {
                Some(skip) => skip.outcome(name),
                None => {
                    trial::run_in_child(&name, seed).map_err(Failed::from)?;
                    Ok(Completion::Completed)
                }
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list && !arguments.quiet {
        let slowest = trial::slowest(10);
        let lines: Vec<_> =
            slowest.iter().map(|(time, name)| format!("{time:.1?} {name}")).collect();
        println!("slowest: {}", lines.join(", "));
        skips::tell();
    }
    conclusion.exit_code()
}
