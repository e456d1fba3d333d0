//! What of a report is made on Linux.

use std::net::SocketAddr;

use super::{checks, costs as measure, machine, Cost, Outcome, Patience, Report};
use crate::cause::signs::Status;
use crate::cause::Cause;
use crate::driver::uring::INCREMENTAL;
use crate::driver::{Chosen, Config};
use crate::probe::trial::Trial;
use crate::sys::errno;

pub(super) use machine::killer;

pub(super) fn costs() -> Vec<Cost> {
    measure::all()
}

/// Tries everything, unless it is deadly and so without `patience`, and looks round.
pub(super) fn complete(
    report: &mut Report,
    config: &Config,
    chosen: Option<&Chosen>,
    patience: Option<Patience>,
    destinations: &[SocketAddr],
) {
    let status = Status::read();
    let mut trial = match patience {
        Some(patience) => Trial::open(patience).map_err(Outcome::from),
        None => Err(Outcome::refused(errno::EPERM, Cause::SeccompKills.words())),
    };
    report.checks.extend(checks::functions(&mut trial));
    report.checks.push(checks::zero_copy_receive(patience));
    report.checks.extend(checks::flags(patience));
    report.checks.extend(checks::features(patience));
    report.checks.extend(checks::opcodes(&mut trial));
    report.checks.extend(checks::registers(patience));
    report.routes.push(checks::loopback(&mut trial));
    report.routes.extend(checks::routes(&mut trial, destinations));
    report.limits = machine::limits(trial.as_ref().ok());
    drop(trial);
    report.system = machine::system();
    report.process = machine::process(&status);
    let buffers = chosen.and_then(|chosen| chosen.ring.as_ref()?.buffers);
    let core_bytes = machine::core_bytes(config, buffers.unwrap_or(INCREMENTAL));
    report.memory = machine::memory(&status, core_bytes);
}
