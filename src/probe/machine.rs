//! The machine, this process and its limits, as the system tells of them. Nothing here is an error:
//! what cannot be read is not known.

use std::fs;

use super::{Limits, Memory, Process, System};
use crate::buf::PoolConfig;
use crate::cause::signs::{self, Status};
use crate::cause::Cause;
use crate::driver::uring::setup::locked_bytes;
use crate::driver::Config;
use crate::probe::trial::Trial;
use crate::sys::abi;
use crate::sys::errno;
use crate::sys::{self, scratch};

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_matches(['\0', '\n', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn system() -> System {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    System {
        kernel: read("/proc/sys/kernel/ostype").unwrap_or_else(|| std::env::consts::OS.to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
        distribution: distribution(),
        container: container(),
        machine: machine(),
        config_io_uring: config(&release),
        io_uring_disabled: signs::disabled(),
        io_uring_group: signs::group(),
        security_modules: read("/sys/kernel/security/lsm")
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        release,
    }
}

fn distribution() -> Option<String> {
    let text = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

/// Marks that container runtimes leave.
fn container() -> Option<String> {
    let exists = |path: &str| fs::metadata(path).is_ok();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if variable("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("kubernetes".into());
    }
    if exists("/run/.containerenv") {
        return Some("podman".into());
    }
    if exists("/.dockerenv") {
        return Some("docker".into());
    }
    if read("/proc/version").is_some_and(|version| version.contains("gVisor")) {
        return Some("gvisor".into());
    }
    // systemd-nspawn, LXC and others tell their first process.
    variable("container").or_else(|| {
        let groups = read("/proc/1/cgroup")?;
        ["docker", "kubepods", "containerd", "lxc", "libpod"]
            .into_iter()
            .find(|mark| groups.contains(mark))
            .map(str::to_owned)
    })
}

/// Marks that hypervisors leave.
fn machine() -> Option<String> {
    let vendor = read("/sys/class/dmi/id/sys_vendor");
    let product = read("/sys/class/dmi/id/product_name");
    let named = match (vendor, product) {
        (None, None) => read("/sys/hypervisor/type"),
        (vendor, product) => {
            Some([vendor, product].into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
    };
    let flagged = read("/proc/cpuinfo").is_some_and(|text| {
        text.lines().any(|line| {
            line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
        })
    });
    match (flagged, named) {
        (true, Some(named)) => Some(format!("virtual ({named})")),
        (true, None) => Some("virtual".to_owned()),
        (false, named) => named,
    }
}

/// Whether the kernel is built with io_uring, where its configuration lies open.
fn config(release: &str) -> Option<bool> {
    if signs::disabled().is_some() {
        // The sysctl is part of it.
        return Some(true);
    }
    let text = read(&format!("/boot/config-{release}"))?;
    Some(text.lines().any(|line| line == "CONFIG_IO_URING=y"))
}

pub(super) fn process(status: &Status) -> Process {
    let known = [
        (signs::SYS_ADMIN, "CAP_SYS_ADMIN"),
        (signs::IPC_LOCK, "CAP_IPC_LOCK"),
        (signs::NET_ADMIN, "CAP_NET_ADMIN"),
    ];
    let capabilities = known.into_iter().filter(|(bit, _)| status.has(*bit));
    Process {
        uid: status.uid,
        gid: status.gid,
        capabilities: capabilities.map(|(_, name)| name.to_owned()).collect(),
        seccomp: status.seccomp.map(|mode| {
            match mode {
                0 => "none",
                1 => "strict",
                _ => "filter",
            }
            .to_owned()
        }),
        seccomp_filters: status.seccomp_filters,
        no_new_privileges: status.no_new_privileges,
        label: read("/proc/self/attr/current"),
        sysctl_verdict: sysctl_verdict(status),
    }
}

/// What the sysctls mean for this user.
fn sysctl_verdict(status: &Status) -> Option<String> {
    let group = signs::group().unwrap_or(-1);
    let words = match signs::disabled()? {
        0 => "io_uring is for everybody".to_owned(),
        1 if status.has(signs::SYS_ADMIN) => "only for the privileged, as this process is".into(),
        1 if group >= 0 && status.in_group(group) => {
            format!("only for group {group}, which this process is in")
        }
        1 => "only for the privileged, and this process is not".to_owned(),
        _ => "for nobody".to_owned(),
    };
    Some(words)
}

/// What the rings of one core take.
pub(super) fn core_bytes(config: &Config, buffers: PoolConfig) -> u64 {
    let ring = locked_bytes(config.submission_entries, config.completion_entries);
    ring + u64::from(buffers.count_max.next_power_of_two()) * 16
}

pub(super) fn memory(status: &Status, core_bytes: u64) -> Memory {
    let (limit, limit_max) = scratch::limit(abi::RLIMIT_MEMLOCK);
    let exempt = status.has(signs::IPC_LOCK);
    // In a child without the limit and the capability a ring comes out, or does not.
    let charged = match scratch::setup_without_locked_memory() {
        Ok(scratch::Ended::Code(0)) => Some(false),
        Ok(scratch::Ended::Code(errno::ENOMEM)) => Some(true),
        _ => None,
    };
    let counts = charged != Some(false) && !exempt;
    let cores_max = limit.filter(|_| counts).map(|limit| limit / core_bytes);
    Memory { limit, limit_max, charged, exempt, core_bytes, cores_max }
}

pub(super) fn limits(trial: Option<&Trial>) -> Limits {
    let (descriptors, descriptors_max) = scratch::limit(abi::RLIMIT_NOFILE);
    let workers = trial.and_then(|ring| ring.workers().ok());
    Limits {
        descriptors,
        descriptors_max,
        tasks: scratch::limit(abi::RLIMIT_NPROC).0,
        tasks_group: group_number("pids", "pids.max"),
        processors: sys::allowed_cpus().ok().map(|cpus| cpus.len() as u64),
        processors_quota_percent: quota(),
        workers_bounded: workers.map(|[bounded, _]| bounded),
        workers_unbounded: workers.map(|[_, unbounded]| unbounded),
    }
}

/// The folder of this process's control group: of version 2, or of version 1's `controller`.
fn group_folder(controller: &str) -> Vec<String> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(list), Some(path)) = (parts.next(), parts.next()) else { continue };
        if list.is_empty() {
            folders.push(format!("/sys/fs/cgroup{path}"));
        } else if list.split(',').any(|name| name == controller) {
            folders.push(format!("/sys/fs/cgroup/{controller}{path}"));
        }
    }
    // In a container the path may be that of the host, and the folder the root of what is seen.
    folders.push("/sys/fs/cgroup".to_owned());
    folders.push(format!("/sys/fs/cgroup/{controller}"));
    folders
}

fn group_file(controller: &str, file: &str) -> Option<String> {
    let mut folders = group_folder(controller).into_iter();
    folders.find_map(|folder| read(&format!("{folder}/{file}")))
}

fn group_number(controller: &str, file: &str) -> Option<u64> {
    group_file(controller, file)?.parse().ok()
}

fn quota() -> Option<u64> {
    let (quota, period): (u64, u64) = match group_file("cpu", "cpu.max") {
        Some(text) => {
            let mut words = text.split_whitespace();
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
        }
        None => {
            (group_number("cpu", "cpu.cfs_quota_us")?, group_number("cpu", "cpu.cfs_period_us")?)
        }
    };
    (period > 0).then(|| quota * 100 / period)
}

/// Whether a filter kills who uses io_uring: tried in a child, which dies of it.
pub(super) fn killer() -> Option<Cause> {
    match scratch::enter_nothing() {
        Ok(scratch::Ended::Signal(abi::SIGSYS | abi::SIGKILL)) => Some(Cause::SeccompKills),
        _ => None,
    }
}
