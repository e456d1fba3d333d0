//! A seccomp profile under which ringpark runs on io_uring, and little else runs at all.

/// What a program on ringpark calls, with glibc or musl, and what the container runtime itself calls
/// between applying the profile and starting the program.
const CALLS: &[&str] = &[
    // io_uring.
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    // The other backends.
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    // Sockets and descriptors.
    "accept4",
    "bind",
    "close",
    "close_range",
    "connect",
    "dup",
    "dup3",
    "fcntl",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "lseek",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "read",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "send",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
    "splice",
    "write",
    "writev",
    // Files: the program itself, its configuration, names of hosts.
    "access",
    "faccessat",
    "faccessat2",
    "fstat",
    "fstatfs",
    "getcwd",
    "getdents64",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
    // Threads, memory, time, signals.
    "arch_prctl",
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getpid",
    "getppid",
    "getrandom",
    "getrlimit",
    "getrusage",
    "gettid",
    "gettimeofday",
    "madvise",
    "membarrier",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "prctl",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setrlimit",
    "sigaltstack",
    "tgkill",
    "uname",
    "wait4",
    // Who we are, and what the container runtime does before it starts us.
    "capget",
    "capset",
    "chdir",
    "fchdir",
    "fchown",
    "geteuid",
    "getegid",
    "getgid",
    "getuid",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "umask",
];

/// The error that says that a call is unknown, as Linux numbers it.
const ENOSYS: i32 = 38;

/// The profile as JSON, for `docker run --security-opt seccomp=FILE` and for a `Localhost` profile of
/// Kubernetes.
///
/// Whatever is not in it answers ENOSYS, so that programs fall back as they do on an old kernel. A
/// program that does more than ringpark needs more: then it is better to add the three calls
/// `io_uring_setup`, `io_uring_enter` and `io_uring_register` to the profile that it has.
pub fn seccomp_profile() -> String {
    let mut names = CALLS.to_vec();
    names.sort_unstable();
    let names: Vec<String> = names.into_iter().map(|name| format!("        \"{name}\"")).collect();
    format!(
        "{{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"defaultErrnoRet\": {},\n  \
         \"syscalls\": [\n    {{\n      \"action\": \"SCMP_ACT_ALLOW\",\n      \"names\": [\n{}\n      \
         ]\n    }}\n  ]\n}}\n",
        ENOSYS,
        names.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_named_twice() {
        let mut names = CALLS.to_vec();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
