//! What one thread may know of another: the processor time that it has used.

use std::io;
use std::time::Duration;

/// Lets `call` be called in every child process that a thread of this one forks, in that thread,
/// before fork(2) returns there.
pub(crate) fn at_fork_in_child(call: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is one for ever; what it does is the caller's affair.
    match unsafe { libc::pthread_atfork(None, None, Some(call_c(call))) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The same function as the C library's type has it.
fn call_c(call: extern "C" fn()) -> unsafe extern "C" fn() {
    call
}

/// The time since some moment, to some milliseconds, at the price of reading memory.
pub(crate) fn coarse_now() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = libc::CLOCK_MONOTONIC_COARSE;
    #[cfg(not(target_os = "linux"))]
    let clock = libc::CLOCK_MONOTONIC;
    // A monotonic clock can always be read.
    ThreadClock(clock).now().unwrap_or_default()
}

/// The clock of a thread's processor time, which any thread may read.
pub(crate) struct ThreadClock(libc::clockid_t);

impl ThreadClock {
    /// The clock of the calling thread.
    ///
    /// # Errors
    /// Where threads have no such clock.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(crate) fn of_this_thread() -> io::Result<ThreadClock> {
        let mut clock = 0;
        // SAFETY: the pointer is to a local, and the thread is this one.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) } {
            0 => Ok(ThreadClock(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// There is none here.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(crate) fn of_this_thread() -> io::Result<ThreadClock> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The processor time used so far. Fails once the thread has ended.
    pub(crate) fn now(&self) -> io::Result<Duration> {
        // SAFETY: plain numbers (and on some platforms padding, so it has no literal).
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a local.
        super::cvt(unsafe { libc::clock_gettime(self.0, &mut time) })?;
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}
