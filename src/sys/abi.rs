//! What is handed to the system's calls as it is: structures that operations keep for it, flags and
//! numbers. Whatever is above `sys` names them from here.

pub(crate) use libc::{
    c_int, iovec, msghdr, pid_t, pollfd, siginfo_t, sockaddr_in6, socklen_t, IPPROTO_IP,
    IPPROTO_IPV6, IPV6_PKTINFO, IPV6_TCLASS, MSG_CTRUNC, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC,
    MSG_WAITALL, O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, POLLIN,
    POLLNVAL, POLLOUT, RLIMIT_NOFILE, SCM_RIGHTS, SIGBUS, SIGCHLD, SIGFPE, SIGHUP, SIGILL, SIGINT,
    SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SOCK_DGRAM,
    SOCK_STREAM, SOL_SOCKET, WNOHANG,
};
#[cfg(target_os = "linux")]
pub(crate) use libc::{
    id_t, CLD_DUMPED, CLD_EXITED, P_PID, RLIMIT_MEMLOCK, RLIMIT_NPROC, SOL_UDP, UDP_GRO,
    UDP_SEGMENT, WEXITED,
};
