//! A process that has been started.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::process::{ExitStatus, Output};
use std::rc::Rc;
use std::time::Duration;

use super::{read_all, ChildStderr, ChildStdin, ChildStdout};
use crate::io::{PipeReader, PipeWriter, Submission};
use crate::op::{KeepsOpen, Parent, WaitChild};
use crate::runtime::Core;
use crate::sys;
use crate::time::sleep;

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

struct Process {
    core: Rc<Core>,
    pid: libc::pid_t,
    pidfd: OwnedFd,
    /// How it has ended. The kernel tells it once.
    status: Cell<Option<ExitStatus>>,
    /// Waits that have not been answered.
    waits: Cell<u32>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // What the readiness backends know of the number must go with it.
        self.core.driver.borrow_mut().forget_descriptor(self.pidfd.as_raw_fd());
    }
}

/// Keeps the process's descriptor open for a wait.
struct Waiting(Rc<Process>);

impl Waiting {
    fn new(process: &Rc<Process>) -> Waiting {
        process.waits.set(process.waits.get() + 1);
        Waiting(process.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits.set(self.0.waits.get() - 1);
    }
}

impl KeepsOpen for Waiting {
    fn fd(&self) -> RawFd {
        self.0.pidfd.as_raw_fd()
    }
}

impl Parent for Waiting {
    fn pid(&self) -> libc::pid_t {
        self.0.pid
    }

    fn keep_status(&self, status: ExitStatus) {
        self.0.status.set(Some(status));
    }
}

impl Child {
    pub(super) fn new(mut child: std::process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let pid = child.id() as libc::pid_t;
        let mut made = || -> io::Result<_> {
            let pidfd = sys::pidfd_open(pid)?;
            let stdin = child.stdin.take().map(|it| PipeWriter::new(it.into())).transpose()?;
            let stdout = child.stdout.take().map(|it| PipeReader::new(it.into())).transpose()?;
            let stderr = child.stderr.take().map(|it| PipeReader::new(it.into())).transpose()?;
            Ok((pidfd, stdin, stdout, stderr))
        };
        match made() {
            Ok((pidfd, stdin, stdout, stderr)) => {
                let (core, status, waits) = (Core::current(), Cell::new(None), Cell::new(0));
                let process = Rc::new(Process { core, pid, pidfd, status, waits });
                Ok(Child { stdin, stdout, stderr, process, kill_on_drop })
            }
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
        self.process.pid as u32
    }

    /// Waits for the end of the process: with the ring's own wait (Linux 6.7), else for its
    /// descriptor. The pipe to its input is closed first, if it is still here, so that a process
    /// which reads to the end does end.
    ///
    /// Dropping the future loses nothing: the next wait gives the status, as often as one asks.
    ///
    /// # Errors
    /// Those of waitid(2), if somebody else in this process has waited for it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        wait(&self.process).await
    }

    /// How the process has ended, if it has.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.process.status.get() {
            return Ok(Some(status));
        }
        let mut op = WaitChild::new(Waiting::new(&self.process));
        match crate::op::Op::attempt(&mut op) {
            Ok(result) => {
                let status = crate::op::Op::finish(op, Ok(result))?;
                self.process.status.set(Some(status));
                Ok(Some(status))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of the process and all that it writes to the pipes that are here.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait), and those of reading.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        let core = self.process.core.clone();
        let (out, err) = (self.stdout.take(), self.stderr.take());
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
    /// Those of pidfd_send_signal(2).
    pub fn start_kill(&mut self) -> io::Result<()> {
        if self.process.status.get().is_some() {
            return Ok(());
        }
        match sys::pidfd_kill(self.process.pidfd.as_fd(), libc::SIGKILL) {
            // It has ended, and nobody has waited for it yet.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
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

async fn wait(process: &Rc<Process>) -> io::Result<ExitStatus> {
    if let Some(status) = process.status.get() {
        return Ok(status);
    }
    let op = WaitChild::new(Waiting::new(process));
    match Submission::new(process.core.clone(), op).await {
        Ok(status) => {
            process.status.set(Some(status));
            Ok(status)
        }
        Err(error) => earlier_status(process).await.ok_or(error),
    }
}

/// What an earlier wait, whose future was dropped, has got: its answer may be on its way still.
async fn earlier_status(process: &Rc<Process>) -> Option<ExitStatus> {
    for _ in 0..100 {
        // Only the waits that are in flight share it with the child.
        if process.status.get().is_some() || process.waits.get() == 0 {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    process.status.get()
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.process.status.get().is_some() {
            return;
        }
        if self.kill_on_drop {
            if let Err(error) = self.start_kill() {
                tracing::warn!(target: "ringpark", %error, pid = self.process.pid, "not killed");
            }
        }
        let core = &self.process.core;
        if core.shared.is_current() && matches!(self.try_wait(), Ok(None)) {
            let process = self.process.clone();
            let reap = async move {
                if let Err(error) = wait(&process).await {
                    tracing::debug!(target: "ringpark", %error, "waiting for a child");
                }
            };
            drop(self.process.core.spawn(reap, Location::caller()));
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("pid", &self.process.pid).finish_non_exhaustive()
    }
}
