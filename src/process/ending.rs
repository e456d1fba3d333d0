//! How the end of a process is learnt.
//!
//! By its descriptor on Linux (`pidfd.rs`). Where there is none, by SIGCHLD: it says that some child
//! has ended, and whoever waits looks at his own. That takes no thread for a child and works with every
//! selector, and a thread that waits could not be told to give up.
//!
//! A process is waited for by its core only, in one place, which notes the status at once. So
//! its number is not another's while there is no status, and a signal goes to nobody else.

use std::cell::Cell;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;

use super::pidfd::Pidfd;
use crate::runtime::Core;
use crate::signal::{signal, SignalKind};
use crate::sys;
use crate::sys::abi;
use crate::sys::errno;

/// A process whose end somebody may want to know.
pub(super) struct Process {
    core: Rc<Core>,
    pid: abi::pid_t,
    /// Its descriptor, where there is such a thing.
    pidfd: Option<Rc<Pidfd>>,
    /// How it has ended, if that was found without the descriptor. The kernel tells it once.
    status: Cell<Option<ExitStatus>>,
}

impl Process {
    /// A child that was started just now, and that nobody has waited for.
    pub(super) fn new(pid: abi::pid_t) -> io::Result<Rc<Process>> {
        let core = Core::current();
        let pidfd = match Pidfd::open(pid, &core) {
            Ok(pidfd) => Some(pidfd),
            // The kernel is older, or a filter does not know the call.
            Err(error) if matches!(error.raw_os_error(), Some(errno::ENOSYS | errno::EPERM)) => {
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Rc::new(Process { core, pid, pidfd, status: Cell::new(None) }))
    }

    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    pub(super) fn pid(&self) -> abi::pid_t {
        self.pid
    }

    /// Whether its end is known, and so its number not its own any more.
    pub(super) fn has_been_waited_for(&self) -> bool {
        self.status().is_some()
    }

    /// How it has ended, if that is known.
    fn status(&self) -> Option<ExitStatus> {
        self.status.get().or_else(|| self.pidfd.as_ref()?.status())
    }

    /// How it has ended, if it has.
    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        if self.status().is_none() {
            self.status.set(sys::try_wait_child(self.pid)?);
        }
        Ok(self.status())
    }

    /// Waits for its end. Dropping the future loses nothing.
    pub(super) async fn wait(self: &Rc<Process>) -> io::Result<ExitStatus> {
        if let Some(status) = self.status() {
            return Ok(status);
        }
        match &self.pidfd {
            Some(pidfd) => pidfd.wait().await,
            None => self.wait_by_signal().await,
        }
    }

    async fn wait_by_signal(&self) -> io::Result<ExitStatus> {
        // Before the first look, so that no end falls between the two.
        let mut ended = signal(SignalKind::child())?;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            ended.recv().await;
        }
    }

    /// Sends it SIGKILL. One that has ended is no error.
    pub(super) fn kill(&self) -> io::Result<()> {
        if self.has_been_waited_for() {
            return Ok(());
        }
        let sent = match &self.pidfd {
            Some(pidfd) => pidfd.kill(),
            None => sys::kill_child(self.pid, abi::SIGKILL),
        };
        match sent {
            // It has ended, and nobody has waited for it yet.
            Err(error) if error.raw_os_error() == Some(errno::ESRCH) => Ok(()),
            other => other,
        }
    }
}
