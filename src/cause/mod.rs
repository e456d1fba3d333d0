//! Why a backend is refused, and what an operator can do about it, each as a command to paste. What
//! the cause of an error is, is concluded in `diagnosis.rs`.

use std::io;

use crate::sys::errno;

#[cfg(target_os = "linux")]
mod diagnosis;
#[cfg(target_os = "linux")]
pub(crate) mod signs;

#[cfg(target_os = "linux")]
pub(crate) use diagnosis::{memory, of};

/// A command, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Remedy {
    /// Where: `shell`, `Docker`, `systemd` and so on.
    pub place: String,
    /// To paste.
    pub command: String,
}

/// A likely cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A seccomp filter answers in the kernel's place.
    Seccomp,
    /// A seccomp filter kills who tries.
    SeccompKills,
    /// `kernel.io_uring_disabled` is 2.
    SysctlForAll,
    /// `kernel.io_uring_disabled` is 1, and this process is not among the privileged.
    SysctlForUs { gid: u32 },
    /// SELinux, AppArmor or their like.
    SecurityModule,
    /// The locked-memory limit: what it is, and what one ring needs, in bytes.
    LockedMemory { limit: u64, needed: u64 },
    /// The kernel itself has no memory for a ring of so many bytes.
    KernelMemory { needed: u64 },
    /// The limit of descriptors.
    Descriptors,
    /// There is no io_uring in this kernel.
    NoRings,
    /// Waits with a time-out are missing (before 5.11).
    OldRing,
    /// DEFER_TASKRUN is missing (before 6.1).
    Undeferred,
    /// This operation, which no ring can do without, is missing or forbidden.
    Operation(String),
    /// This system has no such backend; those that it has.
    NotHere(String),
    /// An error that none of this explains.
    Unknown,
}

/// Of an error of making descriptors.
pub(crate) fn of_descriptors(error: &io::Error) -> Vec<Cause> {
    vec![match error.raw_os_error() {
        Some(errno::EMFILE | errno::ENFILE) => Cause::Descriptors,
        _ => Cause::Unknown,
    }]
}

impl Cause {
    /// Its name in the report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Cause::Seccomp => "seccomp",
            Cause::SeccompKills => "seccomp-kills",
            Cause::SysctlForAll => "sysctl-2",
            Cause::SysctlForUs { .. } => "sysctl-1",
            Cause::SecurityModule => "security-module",
            Cause::LockedMemory { .. } => "locked-memory",
            Cause::KernelMemory { .. } => "kernel-memory",
            Cause::Descriptors => "descriptors",
            Cause::NoRings => "no-io-uring",
            Cause::OldRing => "old-io-uring",
            Cause::Undeferred => "no-defer-taskrun",
            Cause::Operation(_) => "operation",
            Cause::NotHere(_) => "not-here",
            Cause::Unknown => "unknown",
        }
    }

    /// What it is, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Cause::Seccomp => "a seccomp filter forbids io_uring, as those of Docker, containerd \
                               and systemd do"
                .into(),
            Cause::SeccompKills => "a seccomp filter kills every process that uses io_uring".into(),
            Cause::SysctlForAll => {
                "the sysctl kernel.io_uring_disabled is 2: io_uring is off for everybody".into()
            }
            Cause::SysctlForUs { .. } => {
                "the sysctl kernel.io_uring_disabled is 1: io_uring is for CAP_SYS_ADMIN and the \
                 group of kernel.io_uring_group, and this process has neither"
                    .into()
            }
            Cause::SecurityModule => {
                "a security module (SELinux, AppArmor) forbids io_uring".into()
            }
            Cause::LockedMemory { limit, needed } => format!(
                "the locked-memory limit (RLIMIT_MEMLOCK) is {limit} bytes for all processes of \
                 this user, and one ring needs {needed}"
            ),
            Cause::KernelMemory { needed } => {
                format!("the kernel has no memory for a ring of {needed} bytes")
            }
            Cause::Descriptors => "the limit of descriptors is reached".into(),
            Cause::NoRings => "this kernel has no io_uring: it takes Linux 5.11 built with \
                               CONFIG_IO_URING, and neither gVisor nor user-mode emulation"
                .into(),
            Cause::OldRing => {
                "this kernel's io_uring lacks waits with a time-out: it takes Linux 5.11".into()
            }
            Cause::Undeferred => "io_uring here lacks DEFER_TASKRUN (Linux 6.1), without which \
                                  epoll is faster"
                .into(),
            Cause::Operation(name) => format!("the operation `{name}` is missing or forbidden"),
            Cause::NotHere(names) => format!("this system does not have it: choose one of {names}"),
            Cause::Unknown => "no sign tells why".into(),
        }
    }

    /// What to do about it, in words.
    fn advice(&self) -> &'static str {
        match self {
            Cause::Seccomp => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the container's \
                 profile"
            }
            Cause::SeccompKills => "allow it in the profile, or force another backend",
            Cause::SysctlForAll => "to allow it set it to 0 (sysctl -w kernel.io_uring_disabled=0)",
            Cause::SysctlForUs { .. } => {
                "run with CAP_SYS_ADMIN, join the group, or set it to 0 (sysctl -w \
                 kernel.io_uring_disabled=0)"
            }
            Cause::SecurityModule => "see its log for the rule",
            Cause::LockedMemory { .. } => {
                "raise it (ulimit -l, LimitMEMLOCK=, --ulimit memlock=) or give CAP_IPC_LOCK"
            }
            Cause::Descriptors => "raise it (ulimit -n)",
            _ => "",
        }
    }

    /// What can be changed, each with the command to paste. Values are in the unit of the command.
    pub(crate) fn remedies(&self) -> Vec<Remedy> {
        let remedy = |place: &str, command: String| Remedy { place: place.to_owned(), command };
        match self {
            Cause::Seccomp | Cause::SeccompKills => {
                let mut remedies = vec![
                    remedy(
                        "Docker, Podman: once",
                        "ringpark probe --seccomp-profile > ringpark.json".into(),
                    ),
                    remedy(
                        "Docker, Podman: then",
                        "docker run --security-opt seccomp=ringpark.json IMAGE".into(),
                    ),
                    remedy(
                        "Kubernetes, securityContext",
                        "seccompProfile: {type: Localhost, localhostProfile: ringpark.json}".into(),
                    ),
                    remedy(
                        "systemd unit",
                        "SystemCallFilter=io_uring_setup io_uring_enter io_uring_register".into(),
                    ),
                ];
                if *self == Cause::SeccompKills {
                    remedies.push(remedy(
                        "or without io_uring",
                        "export RINGPARK_BACKEND=epoll".into(),
                    ));
                }
                remedies
            }
            Cause::SysctlForAll => {
                vec![remedy("root on the host", "sysctl -w kernel.io_uring_disabled=0".into())]
            }
            Cause::SysctlForUs { gid } => vec![
                remedy("this group only", format!("sysctl -w kernel.io_uring_group={gid}")),
                remedy("everybody", "sysctl -w kernel.io_uring_disabled=0".into()),
            ],
            Cause::SecurityModule => vec![
                remedy("SELinux", "ausearch -m avc -ts recent | audit2allow -M ringpark".into()),
                remedy("AppArmor", "journalctl -k --grep 'apparmor=\"DENIED\"'".into()),
            ],
            Cause::LockedMemory { needed, .. } => {
                // For several cores at once, and never less than the usual limit.
                let bytes = (needed * 64).next_power_of_two().max(8 << 20);
                vec![
                    remedy("shell", format!("ulimit -l {}", bytes >> 10)),
                    remedy("systemd unit", format!("LimitMEMLOCK={bytes}")),
                    remedy("Docker", format!("docker run --ulimit memlock={bytes} IMAGE")),
                    remedy("Kubernetes, securityContext", "capabilities: {add: [IPC_LOCK]}".into()),
                ]
            }
            Cause::Descriptors => vec![remedy("shell", "ulimit -n 65536".into())],
            Cause::KernelMemory { .. }
            | Cause::NoRings
            | Cause::OldRing
            | Cause::Undeferred
            | Cause::Operation(_)
            | Cause::NotHere(_)
            | Cause::Unknown => Vec::new(),
        }
    }
}

/// Causes and what to do about them as one line, for an error.
pub(crate) fn hint(causes: &[Cause]) -> String {
    let one = |cause: &Cause| match cause.advice() {
        "" => cause.words(),
        advice => format!("{}: {advice}", cause.words()),
    };
    let known = causes.iter().filter(|cause| **cause != Cause::Unknown);
    known.map(one).collect::<Vec<_>>().join("; and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fit_a_line_of_the_page() {
        let (limit, needed, gid) = (65536, 86016, 65534);
        for cause in [
            Cause::Seccomp,
            Cause::SeccompKills,
            Cause::SysctlForAll,
            Cause::SysctlForUs { gid },
            Cause::SecurityModule,
            Cause::LockedMemory { limit, needed },
            Cause::Descriptors,
        ] {
            assert!(!cause.remedies().is_empty(), "{cause:?}");
            assert!(cause.remedies().iter().all(|it| it.command.len() <= 74), "{cause:?}");
        }
    }

    #[test]
    fn two_causes_make_one_hint_and_an_unknown_one_none() {
        assert_eq!(hint(&[Cause::Unknown]), "");
        let hint = hint(&[Cause::Seccomp, Cause::SysctlForAll]);
        assert!(hint.contains("seccomp filter") && hint.contains("; and the sysctl"), "{hint}");
    }
}
