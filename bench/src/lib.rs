//! What ringpark costs, beside the epoll baseline, other runtimes and hand-written loops.
//!
//! ```text
//!   harness (this process)
//!     │ for each workload, for each round, for each contestant in turn: A B C A B C ...
//!     ├─▶ contestant   on its own CPU: says where it listens, serves until it is killed
//!     └─▶ load         on another CPU: drives it, reads its CPU clock, answers with a sample
//! ```
//! Every process is this program started again with a hidden sub-command; other programs (a
//! proxy, another language's runtime) are contestants just as well. What is compared is the
//! server's own CPU time per request, since rates and latencies on a small machine are shared
//! with the load. Medians and spread are over rounds, ratios within a round.
//!
//! Wakes from another thread and timers need no load: contestants measure those by themselves.
//!
//! Files and datagrams have programs of their own: `files` and `datagrams`.
//!
//! `cargo bench --bench compare -- --list` says what there is to run.

pub mod contestants;
pub mod datagrams;
pub mod files;
pub mod harness;
pub mod load;
pub mod machine;
pub mod options;
pub mod process;
pub mod report;
pub mod stats;
pub mod workload;

mod ring;

use std::io;
use std::process::ExitCode;

use crate::contestants::Contestant;
use crate::options::{Choice, Options};

/// The sub-command of a contestant's process: its name and order follow.
const CONTESTANT: &str = "__contestant";
/// The sub-command of the load's process: its order follows.
const LOAD: &str = "__load";

/// The whole program, given the contestants that it brings along and its arguments without its own name.
pub fn main(
    guests: &[&'static dyn Contestant],
    arguments: impl IntoIterator<Item = String>,
) -> ExitCode {
    let all = [contestants::ALL, guests].concat();
    let arguments: Vec<String> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [CONTESTANT, name, order] => contestant(&all, name, order),
        [LOAD, order] => load(order),
        words => match options::parse(words, &all) {
            Ok(Choice::Run(options)) => compare(&options),
            Ok(Choice::List) => contestants::say(harness::list(&all).trim_end()),
            Ok(Choice::Leave(why)) => contestants::say(&why),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        },
    };
    exit_code(ended)
}

/// How a program ends; an error is told first.
fn exit_code(ended: io::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn contestant(all: &[&'static dyn Contestant], name: &str, order: &str) -> io::Result<()> {
    let contestant = contestants::named(all, name)
        .ok_or_else(|| io::Error::other(format!("there is no contestant `{name}`")))?;
    contestants::run(contestant, &serde_json::from_str(order)?)
}

fn load(order: &str) -> io::Result<()> {
    let sample = load::run(&serde_json::from_str(order)?)?;
    contestants::say(&serde_json::to_string(&sample)?)
}

fn compare(options: &Options) -> io::Result<()> {
    process::raise_descriptor_limit()?;
    let report = harness::run(options)?;
    contestants::say(&report::table::all(&report))?;
    let directory = report::directory(&std::env::current_exe()?);
    for file in report::write(&report, &directory)? {
        contestants::say(&format!("written: {}", file.display()))?;
    }
    match report.failures() {
        0 => Ok(()),
        count => Err(io::Error::other(format!("{count} runs failed, see above"))),
    }
}

/// Says what a test leaves out, and why, past the test harness: it keeps what `eprintln!` says in a
/// test that passes.
#[cfg(test)]
fn skipped(what: std::fmt::Arguments<'_>) {
    use io::Write;
    writeln!(io::stderr(), "SKIPPED {what}").expect("standard error is open");
}
