//! Why a ring was refused, in words for the operator, and what to change.

use std::fs;
use std::io;

use crate::sys;

/// The likely cause of a refusal and its remedy; `needed` is what the ring needs of the
/// locked-memory limit.
pub(super) fn explain(error: &io::Error, needed: u64) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => permission(),
        Some(libc::EACCES) => {
            "a security module (SELinux, AppArmor) forbids io_uring: see its log \
             for the rule"
                .to_owned()
        }
        Some(libc::ENOSYS) if is_filtered() => {
            "a seccomp filter hides io_uring from this process: \
             allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile"
                .to_owned()
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring: it takes Linux 5.11 built with \
             CONFIG_IO_URING, and neither gVisor nor user-mode emulation"
            .to_owned(),
        Some(libc::ENOMEM) => memory(needed),
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit of descriptors (ulimit -n)".to_owned()
        }
        _ => String::new(),
    }
}

fn permission() -> String {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match disabled.trim() {
        "2" => {
            "the sysctl kernel.io_uring_disabled is 2: to allow io_uring set it to 0 (sysctl -w \
             kernel.io_uring_disabled=0)"
                .to_owned()
        }
        "1" if !is_filtered() => {
            "the sysctl kernel.io_uring_disabled is 1: run with CAP_SYS_ADMIN, \
             join the group of kernel.io_uring_group, or set it to 0"
                .to_owned()
        }
        _ if is_filtered() => "a seccomp filter forbids it, as those of Docker and containerd do: \
             allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile"
            .to_owned(),
        _ => "a security policy forbids it".to_owned(),
    }
}

/// What the limit is, what it would have to be, and how to raise it.
pub(super) fn memory(needed: u64) -> String {
    match sys::uring::locked_memory_limit() {
        Some(limit) => format!(
            "the locked-memory limit (RLIMIT_MEMLOCK) is {limit} bytes for all processes of this \
             user, and one ring needs {needed}: raise it (ulimit -l, LimitMEMLOCK=, --ulimit \
             memlock=) or give CAP_IPC_LOCK"
        ),
        None => format!("the kernel has no memory for a ring of {needed} bytes"),
    }
}

/// Whether this process runs under a seccomp filter.
fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Seccomp:") && line.trim_end().ends_with('2'))
}
