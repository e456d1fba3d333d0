//! Trials in a child: what would harm this process, or needs limits that it must not lose.
//!
//! The child is a copy of this thread alone, so it makes system calls and nothing else: another
//! thread may have held any lock when it was copied.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{cvt, own, uring};

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

/// Whether a filter kills who calls io_uring.
pub(crate) fn enter_nothing() -> io::Result<Ended> {
    in_child(|| {
        uring::enter_nothing();
        0
    })
}

/// Sets a ring up without the right or the limit to lock memory: the errno, 0 if that works.
pub(crate) fn setup_without_locked_memory() -> io::Result<Ended> {
    in_child(|| {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a local, and the limit is that of the child.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) };
        drop_capabilities();
        match uring::setup(8, &mut uring::Params::default()) {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        }
    })
}

/// Gives all effective capabilities up.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let none = [0u32; 6];
    // SAFETY: the header and the two sets have the layout of version 3. Whether it worked shows in
    // what is tried next.
    unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// A limit of this process, the soft one and the hard one; `None` for no limit.
pub(crate) fn limit(resource: Resource) -> (Option<u64>, Option<u64>) {
    let none = libc::RLIM64_INFINITY;
    let mut limit = libc::rlimit64 { rlim_cur: none, rlim_max: none };
    // SAFETY: the pointer is to a local. It fails for unknown resources only, which have no limit.
    unsafe { libc::getrlimit64(resource, &mut limit) };
    let known = |value: libc::rlim64_t| (value != none).then_some(value);
    (known(limit.rlim_cur), known(limit.rlim_max))
}

/// Runs `trial`, which may only make system calls, in a child: what it returned, from 0 to 255.
fn in_child(trial: fn() -> i32) -> io::Result<Ended> {
    // No signal tells of the child's end: whoever waits for SIGCHLD waits for his own children.
    // SAFETY: without CLONE_VM the child has a copy of everything, stack included.
    let child = cvt(unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) } as libc::c_int)?;
    if child == 0 {
        let no_dump = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a local; _exit runs nothing of the parent's.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &no_dump);
            libc::_exit(trial() & 0xff)
        }
    }
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a local.
        match cvt(unsafe { libc::waitpid(child, &mut status, libc::__WALL) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(Ended::Signal(libc::WTERMSIG(status))),
            Ok(_) => return Ok(Ended::Code(libc::WEXITSTATUS(status))),
        }
    }
}

/// An epoll that waits for nothing: for what a call of it costs.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Epoll(unsafe { own(fd) }))
    }

    /// Looks for events, of which there are none.
    pub(crate) fn wait_nothing(&self) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event that is asked for.
        cvt(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, 0) }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_says_what_it_found_and_how_it_died() {
        assert_eq!(in_child(|| 7).unwrap(), Ended::Code(7));
        // SAFETY: the child kills itself.
        let killed = in_child(|| unsafe { libc::kill(libc::getpid(), libc::SIGKILL) });
        assert_eq!(killed.unwrap(), Ended::Signal(libc::SIGKILL));
    }
}
