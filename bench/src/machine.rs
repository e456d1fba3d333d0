//! The one line that says on what machine a figure was measured.

use std::fs;
use std::io;

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
}

impl Machine {
    /// This machine.
    pub fn this() -> io::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: model_in(&cpuinfo).unwrap_or("unknown CPU").to_owned(),
            cores: allowed_cpus()?.len(),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?
                .trim()
                .to_owned(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, cpu, cores, congestion_control } = self;
        write!(f, "Linux {kernel}, {cpu}, {cores} cores, loopback, {congestion_control}")
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
