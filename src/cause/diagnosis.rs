//! What the cause of a refusal is.
//!
//! An errno alone does not tell: EPERM comes from seccomp filters, from a sysctl and from security
//! modules. What tells them apart is how far a call gets: see [`Signs::enter`].

use std::io;

use super::signs::{self, Signs};
use super::Cause;
use crate::sys;
use crate::sys::errno;

/// The likely causes of `error`, the outermost first; `needed` is what the ring needs of the
/// locked-memory limit, in bytes. There may be two: behind a filter stands a sysctl.
pub(crate) fn of(error: &io::Error, needed: u64) -> Vec<Cause> {
    conclude(error.raw_os_error().unwrap_or(0), needed, &Signs::read())
}

/// The cause of a ring that is smaller than wanted.
pub(crate) fn memory(needed: u64) -> Cause {
    match sys::uring::locked_memory_limit() {
        Some(limit) => Cause::LockedMemory { limit, needed },
        None => Cause::KernelMemory { needed },
    }
}

fn conclude(errno: i32, needed: u64, signs: &Signs) -> Vec<Cause> {
    match errno {
        errno::EPERM | errno::EACCES | errno::ENOSYS => refused(errno, signs),
        errno::ENOMEM => vec![match signs.locked_memory {
            Some(limit) if !signs.status.has(signs::IPC_LOCK) => {
                Cause::LockedMemory { limit, needed }
            }
            _ => Cause::KernelMemory { needed },
        }],
        errno::EMFILE | errno::ENFILE => vec![Cause::Descriptors],
        _ => vec![Cause::Unknown],
    }
}

fn refused(errno: i32, signs: &Signs) -> Vec<Cause> {
    let sysctl = match signs.disabled {
        Some(2) => Some(Cause::SysctlForAll),
        Some(1) if !signs.status.has(signs::SYS_ADMIN) || signs.enter == errno::EBADF => {
            Some(Cause::SysctlForUs { gid: signs.status.gid.unwrap_or(0) })
        }
        _ => None,
    };
    let filtered = signs.status.seccomp != Some(0);
    if signs.enter != errno::EBADF {
        // The call does not get through to io_uring.
        let first = match signs.enter {
            errno::ENOSYS if signs.status.seccomp != Some(2) => Cause::NoRings,
            _ if filtered => Cause::Seccomp,
            _ => Cause::SecurityModule,
        };
        return std::iter::once(first).chain(sysctl).collect();
    }
    match sysctl {
        Some(sysctl) => vec![sysctl],
        None if filtered && errno != errno::EACCES => vec![Cause::Seccomp],
        None => vec![Cause::SecurityModule],
    }
}

#[cfg(test)]
mod tests {
    use super::super::signs::Status;
    use super::*;

    fn signs() -> Signs {
        let status = Status { seccomp: Some(0), gid: Some(7), ..Status::default() };
        Signs { status, disabled: Some(0), enter: errno::EBADF, locked_memory: Some(65536) }
    }

    fn filtered(enter: i32) -> Signs {
        let signs = signs();
        Signs { status: Status { seccomp: Some(2), ..signs.status }, enter, ..signs }
    }

    #[test]
    fn a_filter_that_answers_is_told_from_the_sysctl() {
        for errno in [errno::EPERM, errno::EACCES, errno::ENOSYS] {
            assert_eq!(conclude(errno, 1, &filtered(errno)), [Cause::Seccomp]);
        }
        // Under a filter that lets io_uring pass it is the sysctl's doing.
        let both = Signs { disabled: Some(2), ..filtered(errno::EBADF) };
        assert_eq!(conclude(errno::EPERM, 1, &both), [Cause::SysctlForAll]);
        let both = Signs { disabled: Some(2), ..filtered(errno::EPERM) };
        assert_eq!(conclude(errno::EPERM, 1, &both), [Cause::Seccomp, Cause::SysctlForAll]);
    }

    #[test]
    fn the_sysctl_is_told_from_a_security_module() {
        assert_eq!(conclude(errno::EPERM, 1, &signs()), [Cause::SecurityModule]);
        let all = Signs { disabled: Some(2), ..signs() };
        assert_eq!(conclude(errno::EPERM, 1, &all), [Cause::SysctlForAll]);
        let us = Signs { disabled: Some(1), ..signs() };
        assert_eq!(conclude(errno::EPERM, 1, &us), [Cause::SysctlForUs { gid: 7 }]);
        // In a user namespace the capability is there and does not count: what was tried does.
        let mut root = us;
        root.status.capabilities = 1 << signs::SYS_ADMIN;
        assert_eq!(conclude(errno::EPERM, 1, &root), [Cause::SysctlForUs { gid: 7 }]);
    }

    #[test]
    fn a_kernel_without_rings_is_told_from_a_filter() {
        let missing = Signs { enter: errno::ENOSYS, disabled: None, ..signs() };
        assert_eq!(conclude(errno::ENOSYS, 1, &missing), [Cause::NoRings]);
        assert_eq!(conclude(errno::ENOSYS, 1, &filtered(errno::ENOSYS)), [Cause::Seccomp]);
    }

    #[test]
    fn memory_is_the_limit_s_or_the_kernel_s() {
        let needed = 86016;
        let limited = [Cause::LockedMemory { limit: 65536, needed }];
        assert_eq!(conclude(errno::ENOMEM, needed, &signs()), limited);
        let mut exempt = signs();
        exempt.status.capabilities = 1 << signs::IPC_LOCK;
        assert_eq!(conclude(errno::ENOMEM, needed, &exempt), [Cause::KernelMemory { needed }]);
        let commands: Vec<String> =
            limited[0].remedies().into_iter().map(|remedy| remedy.command).collect();
        assert_eq!(commands[0], "ulimit -l 8192");
        assert_eq!(commands[1], "LimitMEMLOCK=8388608");
    }

    #[test]
    fn what_no_sign_explains_is_unknown() {
        assert_eq!(conclude(errno::EINVAL, 1, &signs()), [Cause::Unknown]);
    }
}
