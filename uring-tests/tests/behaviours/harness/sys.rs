//! The few system calls that the tests need and the standard library lacks.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Descriptors, with what they are.
pub type Descriptors = BTreeMap<RawFd, PathBuf>;

/// The open ones of this process.
pub fn descriptors() -> Descriptors {
    let folder = "/proc/self/fd";
    let entries = std::fs::read_dir(folder).expect("/proc is mounted");
    let mut open = BTreeMap::new();
    for entry in entries {
        let entry = entry.expect("the folder can be read");
        let number = entry.file_name().into_string().expect("numbers are text");
        // The folder's own descriptor is listed too, and is gone when its link is read.
        if let Ok(target) = std::fs::read_link(entry.path()) {
            if !target.starts_with("/proc/") {
                open.insert(number.parse().expect("the names are numbers"), target);
            }
        }
    }
    open
}

/// How many bytes can be read from a socket or pipe without waiting.
pub fn readable_bytes(fd: &impl AsRawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one integer to the pointer, which is to a local.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    assert_eq!(result, 0, "FIONREAD: {}", std::io::Error::last_os_error());
    usize::try_from(count).expect("a count is not negative")
}

/// A pipe: the end to read from and the end to write to. (The one of std is younger than the oldest Rust
/// that all this is built with.)
pub fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: the call writes two numbers, for which there is room.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the numbers are new, so they are nobody else's.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

/// Whether a number is an open descriptor.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and harms no descriptor.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// The processor time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the thread's clock can be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Forks; the child runs `child`, with which it ends. Gives the status with which it ended: see
/// waitpid(2).
pub fn fork_and_wait(child: impl FnOnce() -> bool) -> libc::c_int {
    // SAFETY: the child goes on on this thread's copy, and ends without returning from here.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let is_good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: the call ends the process at once.
            unsafe { libc::_exit(i32::from(!is_good.unwrap_or(false))) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: the pointer is to a local.
            let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
            status
        }
    }
}

/// Sends a signal to this process.
pub fn raise(signal: libc::c_int) {
    // SAFETY: the call takes numbers.
    let sent = unsafe { libc::kill(libc::getpid(), signal) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

/// Sets a handler for a signal.
pub fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handlers of the tests do only what a handler may.
    let before = unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR, "{}", std::io::Error::last_os_error());
}

/// How often the handler of [`handle_over`] was called.
pub static CALLS_OVER: AtomicUsize = AtomicUsize::new(0);
static UNDER: AtomicUsize = AtomicUsize::new(0);

/// Sets a handler over the one that is there, as a library may: it calls that too.
pub fn handle_over(signal: libc::c_int) {
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    extern "C" fn over(signal: libc::c_int, info: *mut libc::siginfo_t, more: *mut libc::c_void) {
        CALLS_OVER.fetch_add(1, Ordering::SeqCst);
        // SAFETY: `handle_over` has put a handler of this kind there.
        let under: Handler = unsafe { std::mem::transmute(UNDER.load(Ordering::SeqCst)) };
        under(signal, info, more);
    }
    let handler: Handler = over;
    // SAFETY: zeroed is a valid value, the pointers are to locals, and the handler does what one may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut former: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut former), 0);
        assert_ne!(former.sa_flags & libc::SA_SIGINFO, 0, "the handler below takes all of this");
        UNDER.store(former.sa_sigaction, Ordering::SeqCst);
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// The soft limit of descriptors.
pub fn descriptor_limit() -> libc::rlim_t {
    limit(libc::RLIMIT_NOFILE).rlim_cur
}

/// Raises the soft limit of descriptors to the hard one, for this process and those it starts: most
/// systems give a program room for a thousand.
pub fn raise_descriptor_limit() {
    let most = limit(libc::RLIMIT_NOFILE).rlim_max;
    set_descriptor_limit(most);
}

/// How many descriptors the kernel's table of this process has room for.
pub fn room_for_descriptors() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    size.expect("the kernel tells it").trim().parse().expect("a number")
}

/// Sets the soft limit of descriptors.
pub fn set_descriptor_limit(soft: libc::rlim_t) {
    let limits = libc::rlimit { rlim_cur: soft, ..limit(libc::RLIMIT_NOFILE) };
    set_limit(libc::RLIMIT_NOFILE, limits);
}

/// Sets the limit of memory that may be locked, in bytes.
pub fn set_locked_memory_limit(bytes: libc::rlim_t) {
    set_limit(libc::RLIMIT_MEMLOCK, libc::rlimit { rlim_cur: bytes, rlim_max: bytes });
}

/// Gives up all privileges for good, where this process has any.
pub fn give_up_privileges() {
    if is_root() {
        become_nobody();
    }
}

/// Gives them up, which takes root: this process is a user's from now on whom nobody else is, since
/// locked memory is charged to users.
pub fn become_nobody() {
    let nobody = 1_000_000 + std::process::id();
    // SAFETY: an empty list of groups needs no memory.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: the calls take no pointers.
    let ids = unsafe {
        (libc::setresgid(nobody, nobody, nobody), libc::setresuid(nobody, nobody, nobody))
    };
    assert_eq!((groups, ids), (0, (0, 0)), "{}", std::io::Error::last_os_error());
}

/// Whether this process may become any user: it is root, and not of a namespace with few users.
pub fn is_root() -> bool {
    // SAFETY: the call has no arguments.
    let is_first = unsafe { libc::geteuid() == 0 };
    // Without the file the kernel has no such namespaces.
    let users = std::fs::read_to_string("/proc/self/uid_map");
    is_first && users.map_or(true, |map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn limit(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    let result = unsafe { libc::getrlimit(resource, &mut limits) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    limits
}

fn set_limit(resource: libc::__rlimit_resource_t, limits: libc::rlimit) {
    // SAFETY: the pointer is to a local.
    let result = unsafe { libc::setrlimit(resource, &limits) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// From now on the kernel answers the system calls of io_uring (425 to 427) with this error, in
/// this thread and those that it starts.
pub fn refuse_io_uring(errno: libc::c_int) {
    filter(IO_URING, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// From now on the kernel gives out no descriptors of processes, with this error.
pub fn refuse_pidfds(errno: libc::c_int) {
    let calls = [libc::SYS_pidfd_open, libc::SYS_pidfd_open];
    filter(calls, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// From now on the kernel kills this process if it makes one of those calls.
pub fn kill_over_io_uring() {
    filter(IO_URING, libc::SECCOMP_RET_KILL_PROCESS);
}

/// The first and the last of io_uring's system calls.
const IO_URING: [libc::c_long; 2] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_register];

/// From now on this is the kernel's answer to these calls, the first to the last of them.
fn filter([first, last]: [libc::c_long; 2], verdict: u32) {
    let step =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let mut program = [
        // The number of the system call is the first word of what a filter sees.
        step(load, 0, 0, 0),
        step(at_least, 0, 2, first as u32),
        step(above, 1, 0, last as u32),
        step(give, 0, 0, verdict),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call takes no pointer; it only forbids new privileges.
    let no_new = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(no_new, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the pointer is to a filter of the length that it tells, and the kernel copies it.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Gives SIGPIPE back its power to end the process, which the standard library takes from it.
pub fn arm_sigpipe() {
    // SAFETY: the default action is no function of ours.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR, "{}", std::io::Error::last_os_error());
}

/// A thread that can be interrupted.
#[derive(Clone, Copy)]
pub struct Interruptible(libc::pthread_t);

impl Interruptible {
    /// This thread. Installs a handler for SIGUSR1 that does nothing, without restarting calls.
    pub fn this_thread() -> Interruptible {
        extern "C" fn ignore(_signal: libc::c_int) {}
        let handler: extern "C" fn(libc::c_int) = ignore;
        // SAFETY: all-zero is a valid value of this plain structure: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: the handler does nothing, which is safe at any point of any thread.
        let set = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the call has no arguments.
        Interruptible(unsafe { libc::pthread_self() })
    }

    /// Interrupts it. The thread must not have ended.
    pub fn interrupt(self) {
        // SAFETY: the tests join the thread that calls this before the interrupted one ends.
        let sent = unsafe { libc::pthread_kill(self.0, libc::SIGUSR1) };
        assert_eq!(sent, 0, "the thread lives");
    }
}
