//! The one line that says on what machine a figure was measured.

use std::fs::{self, File};
use std::io::{self, Write};

use serde::Serialize;

use crate::process::allowed_cpus;

/// What a reader must know of the machine before comparing figures with another one's.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The running kernel's release.
    pub kernel: String,
    /// The CPU's model name.
    pub cpu: String,
    /// How many CPUs this process may use.
    pub cores: usize,
    /// The congestion control of new TCP connections.
    pub congestion_control: String,
    /// Whether CPUs without work were kept awake.
    pub awake: bool,
}

impl Machine {
    /// This machine, and whether its CPUs are kept awake.
    pub fn this(awake: Option<&Awake>) -> io::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: model_in(&cpuinfo).unwrap_or("unknown CPU").to_owned(),
            cores: allowed_cpus()?.len(),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?
                .trim()
                .to_owned(),
            awake: awake.is_some(),
        })
    }
}

/// Keeps CPUs without work from sleeping for as long as it is held: they poll instead, and wake up
/// in no time. On a virtual machine that is the difference between 3 and 35 µs a wake.
#[derive(Debug)]
pub struct Awake {
    /// The request ends when the descriptor is closed.
    _request: File,
}

impl Awake {
    /// Asks for it, which takes the right to write to /dev/cpu_dma_latency.
    pub fn ask() -> io::Result<Self> {
        let path = "/dev/cpu_dma_latency";
        let mut request = File::options().write(true).open(path).map_err(|error| {
            io::Error::new(error.kind(), format!("--awake needs to write to {path}: {error}"))
        })?;
        // A latency of 0 µs.
        request.write_all(&0_i32.to_ne_bytes())?;
        Ok(Self { _request: request })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, cpu, cores, congestion_control, awake } = self;
        let awake = if *awake { ", idle CPUs kept awake" } else { "" };
        write!(f, "Linux {kernel}, {cpu}, {cores} cores, loopback, {congestion_control}{awake}")
    }
}

/// The model name as /proc/cpuinfo gives it; other architectures than x86 have no such line.
fn model_in(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_what_follows_the_colon() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 3:2 GHz\nflags\t: fpu\n";
        assert_eq!(model_in(text), Some("Some CPU @ 3:2 GHz"));
        assert_eq!(model_in("processor : 0\n"), None);
    }
}
