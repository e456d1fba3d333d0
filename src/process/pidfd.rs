//! The descriptor of a process (Linux 5.3), which can be waited for like any other.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::handle::Submission;
use crate::op::{Child, Keeps, KeepsOpen, WaitChild};
use crate::runtime::Core;
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// The descriptor, and who waits for it.
pub(super) struct Pidfd {
    core: Rc<Core>,
    pid: abi::pid_t,
    fd: OwnedFd,
    /// How the process has ended, if a wait has got it. The kernel tells it once.
    status: Cell<Option<ExitStatus>>,
    /// Waits that have not been answered.
    waits: Cell<u32>,
    /// Whom to wake when one more wait has been answered.
    waiter: Cell<Option<Waker>>,
}

impl Pidfd {
    /// A descriptor of a child that nobody has waited for.
    pub(super) fn open(pid: abi::pid_t, core: &Rc<Core>) -> io::Result<Rc<Pidfd>> {
        Ok(Rc::new(Pidfd {
            core: core.clone(),
            pid,
            fd: sys::pidfd_open(pid)?,
            status: Cell::new(None),
            waits: Cell::new(0),
            waiter: Cell::new(None),
        }))
    }

    /// How the process has ended, if a wait has got it.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        self.status.get()
    }

    /// Sends the process SIGKILL.
    pub(super) fn kill(&self) -> io::Result<()> {
        sys::pidfd_kill(self.fd.as_fd(), abi::SIGKILL)
    }

    /// Waits for the end of the process.
    pub(super) async fn wait(self: &Rc<Pidfd>) -> io::Result<ExitStatus> {
        let op = WaitChild::new(Waiting::new(self));
        match Submission::new(self.core.clone(), op).await {
            Ok(status) => {
                self.status.set(Some(status));
                Ok(status)
            }
            Err(error) => self.earlier_status().await.ok_or(error),
        }
    }

    /// What an earlier wait, whose future was dropped, has got. Its answer may be on its way still; it
    /// does come, since the wait has been asked to end.
    async fn earlier_status(&self) -> Option<ExitStatus> {
        poll_fn(|cx| {
            let status = self.status.get();
            if status.is_some() || self.waits.get() == 0 {
                return Poll::Ready(status);
            }
            // One at a time: a child is waited for through `&mut`, and by its core when it has gone.
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

impl Drop for Pidfd {
    fn drop(&mut self) {
        // What the readiness backends know of the number must go with it.
        self.core.driver.borrow_mut().forget_descriptor(self.fd.as_raw_fd());
    }
}

/// Keeps the process's descriptor open for a wait.
struct Waiting(Rc<Pidfd>);

impl Waiting {
    fn new(pidfd: &Rc<Pidfd>) -> Waiting {
        pidfd.waits.set(pidfd.waits.get() + 1);
        Waiting(pidfd.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits.set(self.0.waits.get() - 1);
        if let Some(waker) = self.0.waiter.take() {
            waker.wake();
        }
    }
}

impl KeepsOpen for Waiting {
    fn fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

impl Child for Waiting {
    fn pid(&self) -> abi::pid_t {
        self.0.pid
    }
}

impl Keeps<ExitStatus> for Waiting {
    fn keep(&self, status: io::Result<ExitStatus>) {
        if let Ok(status) = status {
            self.0.status.set(Some(status));
        }
    }
}
