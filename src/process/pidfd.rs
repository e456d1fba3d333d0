//! The descriptor of a process (Linux 5.3), which can be waited for like any other.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use super::ending::Process;
use crate::handle::Submission;
use crate::op::{KeepsOpen, Parent, WaitChild};
use crate::runtime::Core;
use crate::sys;
use crate::time::sleep;

/// The descriptor, and who waits for it.
pub(super) struct Pidfd {
    core: Rc<Core>,
    fd: OwnedFd,
    /// Waits that have not been answered.
    waits: Cell<u32>,
}

impl Pidfd {
    /// A descriptor of a child that nobody has waited for.
    pub(super) fn open(pid: libc::pid_t, core: &Rc<Core>) -> io::Result<Pidfd> {
        Ok(Pidfd { core: core.clone(), fd: sys::pidfd_open(pid)?, waits: Cell::new(0) })
    }

    /// Sends the process SIGKILL.
    pub(super) fn kill(&self) -> io::Result<()> {
        sys::pidfd_kill(self.fd.as_fd(), libc::SIGKILL)
    }
}

impl Drop for Pidfd {
    fn drop(&mut self) {
        // What the readiness backends know of the number must go with it.
        self.core.driver.borrow_mut().forget_descriptor(self.fd.as_raw_fd());
    }
}

/// Waits for the end of a process that has a descriptor.
pub(super) async fn wait(process: &Rc<Process>) -> io::Result<ExitStatus> {
    let op = WaitChild::new(Waiting::new(process));
    match Submission::new(process.core().clone(), op).await {
        Ok(status) => {
            process.keep_status(status);
            Ok(status)
        }
        Err(error) => earlier_status(process).await.ok_or(error),
    }
}

/// What an earlier wait, whose future was dropped, has got: its answer may be on its way still.
async fn earlier_status(process: &Rc<Process>) -> Option<ExitStatus> {
    for _ in 0..100 {
        // Only the waits that are in flight share it with the child.
        if process.status().is_some() || process.pidfd().is_none_or(|it| it.waits.get() == 0) {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    process.status()
}

/// Keeps the process's descriptor open for a wait.
struct Waiting(Rc<Process>);

impl Waiting {
    fn new(process: &Rc<Process>) -> Waiting {
        let waiting = Waiting(process.clone());
        let waits = &waiting.pidfd().waits;
        waits.set(waits.get() + 1);
        waiting
    }

    fn pidfd(&self) -> &Pidfd {
        self.0.pidfd().expect("a process without a descriptor is not waited for by one")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waits = &self.pidfd().waits;
        waits.set(waits.get() - 1);
    }
}

impl KeepsOpen for Waiting {
    fn fd(&self) -> RawFd {
        self.pidfd().fd.as_raw_fd()
    }
}

impl Parent for Waiting {
    fn pid(&self) -> libc::pid_t {
        self.0.pid()
    }

    fn keep_status(&self, status: ExitStatus) {
        self.0.keep_status(status);
    }
}
