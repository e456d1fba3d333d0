//! A process that has been started.

use std::fmt;
use std::io;
use std::panic::Location;
use std::process::{ExitStatus, Output};
use std::rc::Rc;

use super::ending::Process;
use super::pipes::{read_all, ChildStderr, ChildStdin, ChildStdout};
use crate::sys::abi;

/// A process that has been started.
///
/// Dropping it leaves the process running, unless
/// [`kill_on_drop`](super::Command::kill_on_drop) was asked for. Either way the core goes on to wait
/// for it, so that it does not stay behind as a zombie while the runtime lasts.
pub struct Child {
    /// What the process reads, if that is a pipe: drop it to let the process find the end.
    pub stdin: Option<ChildStdin>,
    /// What the process writes, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// What the process complains of, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    process: Rc<Process>,
    kill_on_drop: bool,
}

impl Child {
    pub(super) fn new(mut child: std::process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let pid = child.id() as abi::pid_t;
        let mut made = || -> io::Result<_> {
            let process = Process::new(pid)?;
            let stdin = child.stdin.take().map(|it| ChildStdin::new(it.into())).transpose()?;
            let stdout = child.stdout.take().map(|it| ChildStdout::new(it.into())).transpose()?;
            let stderr = child.stderr.take().map(|it| ChildStderr::new(it.into())).transpose()?;
            Ok(Child { stdin, stdout, stderr, process, kill_on_drop })
        };
        match made() {
            Ok(child) => Ok(child),
            Err(error) => {
                // Nobody could wait for it.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.pid() as u32
    }

    /// Waits for the end of the process: with the ring's own wait (Linux 6.7), else for its
    /// descriptor (Linux 5.3), else for SIGCHLD, which is caught meanwhile as [`signal`] does it. The
    /// pipe to its input is closed first, if it is still here, so that a process which reads to the end
    /// does end.
    ///
    /// Dropping the future loses nothing: the next wait gives the status, as often as one asks.
    ///
    /// # Errors
    /// Those of wait(2): ECHILD if somebody else in this process has waited for it, or SIGCHLD is
    /// ignored. Where SIGCHLD has to be caught, those of that.
    ///
    /// [`signal`]: crate::signal::signal
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait().await
    }

    /// How the process has ended, if it has.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Waits for the end of the process and all that it writes to the pipes that are here.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait), and those of reading.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        let core = self.process.core().clone();
        let out = self.stdout.take().map(|pipe| pipe.descriptor);
        let err = self.stderr.take().map(|pipe| pipe.descriptor);
        drop(self.stdin.take());
        // Both at once: a process may fill one while the other is read.
        let errors = core.spawn(read_all(err), Location::caller());
        let stdout = read_all(out).await?;
        let stderr = errors.await.map_err(io::Error::other)??;
        let status = self.wait().await?;
        Ok(Output { status, stdout, stderr })
    }

    /// Sends the process SIGKILL. It has not ended when this returns: wait for it. One that has
    /// ended already is no error.
    ///
    /// # Errors
    /// Those of kill(2).
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Kills the process and waits for its end.
    ///
    /// # Errors
    /// As for [`start_kill`](Child::start_kill) and [`wait`](Child::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.process.has_been_waited_for() {
            return;
        }
        if self.kill_on_drop {
            if let Err(error) = self.start_kill() {
                tracing::warn!(target: "ringpark", %error, pid = self.process.pid(), "not killed");
            }
        }
        let core = self.process.core();
        if core.shared.is_current() && matches!(self.process.try_wait(), Ok(None)) {
            let process = self.process.clone();
            let reap = async move {
                if let Err(error) = process.wait().await {
                    tracing::debug!(target: "ringpark", %error, "waiting for a child");
                }
            };
            drop(core.spawn(reap, Location::caller()));
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("pid", &self.process.pid()).finish_non_exhaustive()
    }
}
