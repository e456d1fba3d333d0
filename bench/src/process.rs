//! What the harness needs of the operating system: children on one CPU each, and what another
//! process has used of CPU and memory.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The CPUs this process may run on, in ascending order.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the call, and its true size is passed.
    let answer = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every index is below CPU_SETSIZE, so it lies inside of the set.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(allowed).collect())
}

/// Makes the command run on these CPUs from its first instruction, and die with the thread that
/// starts it, so that an interrupted comparison leaves no server behind.
pub fn confine(command: &mut Command, cpus: &[usize]) {
    let set = set_of(cpus);
    let confined = move || {
        // SAFETY: a plain system call; the set was copied into this closure.
        let pinned = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
        // SAFETY: a plain system call without pointers.
        let bound = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        match (pinned, bound) {
            (0, 0) => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(confined) };
}

/// Moves the calling thread to one CPU.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    let set = set_of(&[cpu]);
    // SAFETY: the set outlives the call, and its true size is passed.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_of(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        assert!(cpu < libc::CPU_SETSIZE as usize, "there is no CPU {cpu}");
        // SAFETY: the index was checked to lie inside of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// Raises the soft limit of descriptors to the hard one, for this process and those it starts: most
/// systems give a program room for a thousand, and a comparison takes ten times that.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one rlimit, which outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limits.rlim_cur = limits.rlim_max;
    // SAFETY: the limits outlive the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How much CPU time the calling thread has used.
pub fn thread_cpu_used() -> io::Result<Duration> {
    CpuClock(libc::CLOCK_THREAD_CPUTIME_ID).used()
}

/// The CPU clock of a process: user and kernel time of all its threads, the kernel's helper
/// threads of its rings included, to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of the process `pid`, or of this one for 0.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: the call writes one clockid_t, which outlives it.
        let errno = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
        match errno {
            0 => Ok(Self(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// How much CPU time the process has used.
    pub fn used(self) -> io::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes one timespec, which outlives it.
        match unsafe { libc::clock_gettime(self.0, &mut time) } {
            0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Waits until the descriptor is readable, or has ended. False if that took too long.
pub fn wait_readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let patience_ms = patience.as_millis() as i32;
    loop {
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd that outlives the call.
        match unsafe { libc::poll(&mut poll, 1, patience_ms) } {
            0 => return Ok(false),
            1 => return Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// The resident memory of the process `pid`, in bytes, counted page by page by the kernel.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path)?;
    resident_in(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no Rss line in {path}")))
}

/// Whether somebody on this machine listens for TCP over IPv4 on this port.
pub fn is_listening(port: u16) -> io::Result<bool> {
    Ok(listens_in(&fs::read_to_string("/proc/net/tcp")?, port))
}

/// Lines are `sl local_address rem_address st ...`, all in hexadecimal; 0A is TCP_LISTEN.
fn listens_in(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next();
        local.is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("0A")
    })
}

fn resident_in(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_cpu_to_run_on() {
        assert!(!allowed_cpus().unwrap().is_empty());
    }

    #[test]
    fn the_cpu_clock_counts_work_that_is_done() {
        let clock = CpuClock::of(0).unwrap();
        let before = clock.used().unwrap();
        let mut value = 1_u64;
        while clock.used().unwrap() < before + Duration::from_millis(2) {
            value = std::hint::black_box(value.wrapping_mul(31));
        }
    }

    #[test]
    fn a_process_that_is_gone_has_no_clock_and_no_memory() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(CpuClock::of(pid).is_err());
        assert!(resident_bytes(pid).is_err());
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            resident_in("1-2 ---p 0 [rollup]\nRss:      3220 kB\nPss: 1 kB\n"),
            Some(3220 * 1024)
        );
        assert_eq!(resident_in("Pss: 1 kB\n"), None);
        assert!(resident_bytes(std::process::id()).unwrap() > 100 * 1024);
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000\n";
        assert!(listens_in(table, 0x1f90));
        assert!(!listens_in(table, 0x1f91) && !listens_in(table, 0x1f9));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listening(port).unwrap());
        drop(listener);
        assert!(!is_listening(port).unwrap());
    }

    #[test]
    fn a_confined_child_sees_one_cpu() {
        let cpu = *allowed_cpus().unwrap().last().unwrap();
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]);
        confine(&mut command, &[cpu]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.split_whitespace().last(), Some(cpu.to_string().as_str()));
    }
}
