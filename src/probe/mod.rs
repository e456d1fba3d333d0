//! What this kernel can really do for ringpark, and if io_uring is not in use, why not.
//!
//! [`report`] tries each thing in a throw-away ring and says what came of it: it works, it is absent,
//! it is refused (by whom, and what to change), it is broken. No version is compared where something
//! can be tried. A core's start asks the same questions, as many as it needs (some 100 µs, ring
//! and buffers included, on a 2-core virtual machine with Linux 6.18; [`costs`] measures it); the
//! verdict is what it would come to.
//!
//! ```
//! let report = ringpark::probe::report();
//! println!("{} because {}", report.verdict.backend, report.verdict.reason);
//! for finding in &report.verdict.findings {
//!     println!("{}; one of {:?} would change that", finding.words, finding.remedies);
//! }
//! ```
//!
//! The whole report takes some tens of milliseconds, works without privileges, sends nothing over
//! the network, and leaves nothing behind. The program `ringpark probe` (package `ringpark-cli`) shows
//! it as a page or as JSON; the feature `serde` gives the report its traits.

mod diff;
mod make;
mod patience;
mod report;
mod require;

// The parts that look at the machine.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
#[cfg_attr(target_os = "linux", path = "linux.rs")]
mod here;

#[cfg(target_os = "linux")]
mod checks;
#[cfg(target_os = "linux")]
mod costs;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod trial;

/// The JSON Schema of a [`Report`] as `ringpark probe --json` prints it.
pub const JSON_SCHEMA: &str = include_str!("schema.json");

pub use crate::cause::Remedy;
pub use diff::{diff, Change};
pub use make::{costs, report, report_with_routes};
pub(crate) use patience::Patience;
pub use report::{
    Check, Cost, Finding, Group, Limits, Memory, Off, Outcome, Process, Report, Route, System,
    Verdict, SCHEMA,
};
pub use require::{Requirement, UnknownRequirement};
