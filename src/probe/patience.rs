//! Waiting for memory, within bounds.

use std::io;
use std::time::{Duration, Instant};

use crate::sys::errno;

/// How long to wait for memory that rings before have given back: the kernel takes its time with
/// that (since 6.14 it is charged to the locked-memory limit, which may have room for one ring only).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn until(end: Instant) -> Patience {
        Patience(end)
    }

    /// Does it again as long as there is no memory for it.
    pub(crate) fn for_memory<T, E>(
        self,
        short: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            match attempt() {
                Err(error) if short(&error) && Instant::now() < self.0 => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => return other,
            }
        }
    }

    /// The same for a plain error.
    pub(crate) fn retry<T>(self, attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let short = |error: &io::Error| error.raw_os_error() == Some(errno::ENOMEM);
        self.for_memory(short, attempt)
    }
}
