//! The report as plain data. What is absent from a system that cannot tell is `None` or empty.

use crate::cause::Remedy;

/// The version of the report's form. It grows when a field changes its meaning or goes; new fields
/// and new names of checks may come without.
pub const SCHEMA: u32 = 1;

/// What this machine can do for a core of ringpark, and what it would do.
#[derive(Clone, Debug, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// [`SCHEMA`] of the version that made it.
    pub schema: u32,
    /// The version of ringpark that made it.
    pub ringpark: String,
    /// How long it took, in microseconds, without the costs.
    pub took_us: u64,
    /// The backend that a core would get here, and what an operator can change.
    pub verdict: Verdict,
    /// The machine.
    pub system: System,
    /// What this process may do.
    pub process: Process,
    /// What locked memory there is, and what the rings need of it.
    pub memory: Memory,
    /// How many descriptors, threads and processors there are to be had.
    pub limits: Limits,
    /// All that was tried.
    pub checks: Vec<Check>,
    /// Zero-copy sends, for each destination that was asked for; loopback always.
    pub routes: Vec<Route>,
    /// What things cost here, if that was asked for.
    pub costs: Vec<Cost>,
}

/// What a core would run on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Verdict {
    /// The name of the backend, as in `RINGPARK_BACKEND`; `none` if none starts.
    pub backend: String,
    /// Who or what decided, in words.
    pub reason: String,
    /// The features of io_uring in use, by the names of [`Feature`](crate::runtime::Feature).
    pub features: Vec<String>,
    /// Features and operations that are not in use, and why.
    pub off: Vec<Off>,
    /// The entries of the submission queue.
    pub submission_entries: Option<u32>,
    /// The entries of the completion queue.
    pub completion_entries: Option<u32>,
    /// The most buffers that the kernel fills for one core.
    pub buffers: Option<u16>,
    /// The size of each, in bytes.
    pub buffer_bytes: Option<u32>,
    /// Why it is not better, and the remedies.
    pub findings: Vec<Finding>,
}

/// Something that is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Off {
    /// A feature of io_uring or an operation.
    pub name: String,
    /// Why it is off.
    pub why: String,
}

/// Something that stands in the way, and what would move it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Finding {
    /// A short name that does not change: `seccomp`, `sysctl-2`, `locked-memory` and so on.
    pub cause: String,
    /// The same in words.
    pub words: String,
    /// Any one of them helps.
    pub remedies: Vec<Remedy>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct System {
    /// The name of the kernel: `Linux`.
    pub kernel: String,
    /// Its release, as of `uname -r`.
    pub release: String,
    /// The machine's architecture.
    pub architecture: String,
    /// The distribution in words.
    pub distribution: Option<String>,
    /// What makes it look as if this is a container: `docker`, `kubernetes` and so on.
    pub container: Option<String>,
    /// What makes it look as if this is a virtual machine.
    pub machine: Option<String>,
    /// The kernel's configuration of io_uring, where it can be read.
    pub config_io_uring: Option<bool>,
    /// The sysctl `kernel.io_uring_disabled`, where there is one.
    pub io_uring_disabled: Option<u8>,
    /// The sysctl `kernel.io_uring_group`; -1 for no group.
    pub io_uring_group: Option<i64>,
    /// The security modules in force.
    pub security_modules: Vec<String>,
}

/// What this process may do.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Process {
    /// The effective user.
    pub uid: Option<u32>,
    /// The effective group.
    pub gid: Option<u32>,
    /// Those of the capabilities that matter here which it has.
    pub capabilities: Vec<String>,
    /// `none`, `strict` or `filter`.
    pub seccomp: Option<String>,
    /// How many filters there are.
    pub seccomp_filters: Option<u32>,
    /// Whether a program that it starts can gain no privileges.
    pub no_new_privileges: Option<bool>,
    /// What the security module calls it.
    pub label: Option<String>,
    /// What the sysctls mean for this user.
    pub sysctl_verdict: Option<String>,
}

/// Locked memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Memory {
    /// The limit for all processes of the user; `None` for no limit.
    pub limit: Option<u64>,
    /// What the limit can be raised to without privileges; `None` for no limit.
    pub limit_max: Option<u64>,
    /// Whether rings are charged to it, for users without CAP_IPC_LOCK.
    pub charged: Option<bool>,
    /// Whether this process is exempt.
    pub exempt: bool,
    /// What one core needs: its ring, and the ring of its buffers.
    pub core_bytes: u64,
    /// How many cores fit, if nothing else of the user is charged; `None` for no limit.
    pub cores_max: Option<u64>,
}

/// How much of things there is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Limits {
    /// Descriptors a process may have open.
    pub descriptors: Option<u64>,
    /// What that can be raised to without privileges.
    pub descriptors_max: Option<u64>,
    /// Threads and processes of this user.
    pub tasks: Option<u64>,
    /// Those of the control group.
    pub tasks_group: Option<u64>,
    /// The processors that this process may run on.
    pub processors: Option<u64>,
    /// What the control group gives of them, in hundredths of one.
    pub processors_quota_percent: Option<u64>,
    /// Worker threads of a ring for files and the like.
    pub workers_bounded: Option<u32>,
    /// Worker threads of a ring for everything else.
    pub workers_unbounded: Option<u32>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Check {
    /// What kind of thing it is.
    pub group: Group,
    /// Its name, which is unique within the group.
    pub name: String,
    /// What came of it.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub outcome: Outcome,
    /// What else there is to say.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub note: Option<String>,
    /// The first kernel that has it; backports make it no promise.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub since: Option<String>,
}

/// The kinds of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Group {
    /// A way to wait for many descriptors.
    Backend,
    /// A behaviour of io_uring, tried from end to end.
    Function,
    /// A flag of `io_uring_setup`.
    Setup,
    /// A bit of what a ring says of itself.
    Feature,
    /// An operation of a ring.
    Opcode,
    /// An operation of `io_uring_register`.
    Register,
}

impl Group {
    /// All, in the order of the page.
    pub const ALL: [Group; 6] = [
        Group::Backend,
        Group::Function,
        Group::Setup,
        Group::Feature,
        Group::Opcode,
        Group::Register,
    ];

    /// The name, as in `--require GROUP:NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Backend => "backend",
            Group::Function => "function",
            Group::Setup => "setup",
            Group::Feature => "feature",
            Group::Opcode => "opcode",
            Group::Register => "register",
        }
    }
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "outcome", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Outcome {
    /// It does what it should.
    Works,
    /// The kernel does not know it.
    Absent,
    /// The kernel knows it, and says no.
    Refused {
        /// The error's number.
        errno: i32,
        /// The likely cause, in words.
        cause: String,
    },
    /// It does something else than it should.
    Broken {
        /// What it did.
        reason: String,
    },
    /// It could not be tried.
    Untried {
        /// What was missing.
        reason: String,
    },
}

impl Outcome {
    pub(crate) fn refused(errno: i32, cause: impl Into<String>) -> Outcome {
        Outcome::Refused { errno, cause: cause.into() }
    }

    pub(crate) fn broken(reason: impl Into<String>) -> Outcome {
        Outcome::Broken { reason: reason.into() }
    }

    /// Whether it does what it should.
    pub fn works(&self) -> bool {
        *self == Outcome::Works
    }

    /// The name: `works`, `absent`, `refused`, `broken` or `untried`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Works => "works",
            Outcome::Absent => "absent",
            Outcome::Refused { .. } => "refused",
            Outcome::Broken { .. } => "broken",
            Outcome::Untried { .. } => "untried",
        }
    }

    /// Why, in words; empty if there is nothing to explain.
    pub fn why(&self) -> String {
        match self {
            Outcome::Works | Outcome::Absent => String::new(),
            Outcome::Refused { errno, cause } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                format!("{error}: {cause}")
            }
            Outcome::Broken { reason } | Outcome::Untried { reason } => reason.clone(),
        }
    }
}

/// A way for bytes out of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Route {
    /// The address that was sent to.
    pub destination: String,
    /// The address that it went out from.
    pub source: Option<String>,
    /// Whether a zero-copy send works.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub outcome: Outcome,
    /// Whether the kernel copied the bytes all the same; `None` where it does not say.
    pub copied: Option<bool>,
}

/// What something costs here.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Cost {
    /// What was measured.
    pub name: String,
    /// The median, in nanoseconds.
    pub median_ns: u64,
    /// The fastest, in nanoseconds.
    pub least_ns: u64,
    /// How often it was done.
    pub samples: u64,
}

impl Report {
    /// The check of this name, if there is one.
    pub fn check(&self, group: Group, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.group == group && check.name == name)
    }
}
