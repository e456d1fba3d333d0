//! What of a report is made where there is no io_uring: little more than the name of the system.

use std::net::SocketAddr;

use super::{Cost, Patience, Report};
use crate::cause::Cause;
use crate::driver::{Chosen, Config};

pub(super) fn killer() -> Option<Cause> {
    None
}

pub(super) fn costs() -> Vec<Cost> {
    Vec::new()
}

pub(super) fn complete(
    report: &mut Report,
    _config: &Config,
    _chosen: Option<&Chosen>,
    _patience: Option<Patience>,
    _destinations: &[SocketAddr],
) {
    report.system.kernel = std::env::consts::OS.to_owned();
    report.system.architecture = std::env::consts::ARCH.to_owned();
}
