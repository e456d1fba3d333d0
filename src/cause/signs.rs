//! What the system says of itself and of this process: the signs from which a cause is concluded.
//! Read only when there is something to explain, or by the probe.

use std::fs;

use crate::sys;

/// The capabilities that matter here: their bits in `CapEff`.
pub(crate) const NET_ADMIN: u32 = 12;
pub(crate) const IPC_LOCK: u32 = 14;
pub(crate) const SYS_ADMIN: u32 = 21;

/// What `/proc/thread-self/status` says. `None` where it does not, or cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user and group, and the other groups.
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Vec<u32>,
    /// The effective capabilities.
    pub(crate) capabilities: u64,
    /// 0 none, 1 strict, 2 a filter.
    pub(crate) seccomp: Option<u8>,
    pub(crate) seccomp_filters: Option<u32>,
    pub(crate) no_new_privileges: Option<bool>,
}

impl Status {
    pub(crate) fn read() -> Status {
        Status::parse(&fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    fn parse(text: &str) -> Status {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        // Of the four numbers the second is the effective one.
        let effective = |name| field(name)?.split_whitespace().nth(1)?.parse().ok();
        let groups = field("Groups").unwrap_or_default().split_whitespace();
        let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Status {
            uid: effective("Uid"),
            gid: effective("Gid"),
            groups: groups.filter_map(|group| group.parse().ok()).collect(),
            capabilities: capabilities.unwrap_or(0),
            seccomp: field("Seccomp").and_then(|mode| mode.parse().ok()),
            seccomp_filters: field("Seccomp_filters").and_then(|count| count.parse().ok()),
            no_new_privileges: field("NoNewPrivs").map(|flag| flag == "1"),
        }
    }

    pub(crate) fn has(&self, capability: u32) -> bool {
        self.capabilities & 1 << capability != 0
    }

    pub(crate) fn in_group(&self, group: i64) -> bool {
        let is = |&gid: &u32| i64::from(gid) == group;
        self.gid.iter().any(is) || self.groups.iter().any(is)
    }
}

/// The sysctl `kernel.io_uring_disabled` (Linux 6.6, and RHEL 9): 0 for everybody, 1 for
/// CAP_SYS_ADMIN and the group, 2 for nobody.
pub(crate) fn disabled() -> Option<u8> {
    sysctl("kernel/io_uring_disabled")
}

/// The sysctl `kernel.io_uring_group`; -1 for none.
pub(crate) fn group() -> Option<i64> {
    sysctl("kernel/io_uring_group")
}

/// The value of a sysctl, if it is there and a number.
pub(crate) fn sysctl<N: std::str::FromStr>(path: &str) -> Option<N> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

/// All that a refusal is explained with.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    pub(crate) status: Status,
    pub(crate) disabled: Option<u8>,
    /// The errno of `io_uring_enter` on no descriptor: EBADF if the call reaches io_uring. A filter
    /// answers before that; the sysctl and security modules let it pass, since they look at
    /// `io_uring_setup` alone.
    pub(crate) enter: i32,
    /// The locked-memory limit, `None` for no limit.
    pub(crate) locked_memory: Option<u64>,
}

impl Signs {
    pub(crate) fn read() -> Signs {
        Signs {
            status: Status::read(),
            disabled: disabled(),
            enter: sys::uring::enter_nothing(),
            locked_memory: sys::uring::locked_memory_limit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_is_read() {
        let status = Status::parse(
            "Name:\tcat\nUid:\t1000\t65534\t0\t0\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \n\
             CapEff:\t0000000000204000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n",
        );
        assert_eq!((status.uid, status.gid), (Some(65534), Some(6)));
        assert!(status.in_group(6) && status.in_group(20));
        assert!(!status.in_group(5) && !status.in_group(-1));
        assert!(status.has(SYS_ADMIN) && status.has(IPC_LOCK) && !status.has(NET_ADMIN));
        assert_eq!((status.seccomp, status.seccomp_filters), (Some(2), Some(3)));
        assert_eq!(status.no_new_privileges, Some(true));
    }

    #[test]
    fn a_system_that_says_nothing_is_no_error() {
        assert_eq!(Status::parse(""), Status::default());
        assert_eq!(Status::parse("Seccomp:\tx\nUid:\n"), Status::default());
    }
}
