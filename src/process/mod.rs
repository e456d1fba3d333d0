//! Child processes: started, spoken to through pipes, and waited for.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::blocking;

mod child;
mod ending;
#[cfg_attr(any(not(target_os = "linux"), ringpark_kqueue), path = "no_pidfd.rs")]
mod pidfd;
mod pipes;

pub use child::Child;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};

/// A process to be started; the methods are those of [`std::process::Command`].
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::process::Command;
/// let output = Command::new("echo").arg("hello").output().await?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct Command {
    /// Empty while it is lent: see `own`.
    command: std::process::Command,
    lent: Option<Loan>,
    unset: Unset,
    kill_on_drop: bool,
}

/// Where the helper thread finds the command, which is locked while it forks.
type Loan = Arc<Mutex<Option<std::process::Command>>>;

/// Which of the child's standard streams nobody has said anything about.
#[derive(Clone, Copy, Debug)]
struct Unset {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Unset {
    fn set(self, command: &mut std::process::Command, input: fn() -> Stdio, output: fn() -> Stdio) {
        if self.stdin {
            command.stdin(input());
        }
        if self.stdout {
            command.stdout(output());
        }
        if self.stderr {
            command.stderr(output());
        }
    }
}

impl Command {
    /// A command by this name, which is looked for in `PATH`, without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            command: std::process::Command::new(program),
            lent: None,
            unset: Unset { stdin: true, stdout: true, stderr: true },
            kill_on_drop: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.own().arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.own().args(arguments);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.own().env(key, value);
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.own().env_remove(key);
        self
    }

    /// Lets the child's environment begin empty.
    pub fn env_clear(&mut self) -> &mut Command {
        self.own().env_clear();
        self
    }

    /// The child's folder.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.own().current_dir(folder);
        self
    }

    /// What the child reads from; its parent's own by default.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.own().stdin(stdin);
        self.unset.stdin = false;
        self
    }

    /// What the child writes to; its parent's own by default.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.own().stdout(stdout);
        self.unset.stdout = false;
        self
    }

    /// What the child writes its complaints to; its parent's own by default.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.own().stderr(stderr);
        self.unset.stderr = false;
        self
    }

    /// Whether dropping the [`Child`] kills the process. It does not by default.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// The command in std's form, for what has no method here. Whatever is to be called in the child
    /// (`pre_exec`) runs there after a fork from a helper thread. Standard streams are better set by
    /// the methods here: [`output`](Command::output) does not see those that are set otherwise.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        self.own()
    }

    /// Starts the process. The fork is done by a helper thread, so that the core does not wait for
    /// it; dropping the future starts it all the same, and nobody waits for it then. (Unless the
    /// command is used again before the helper thread has come to it: then it is not started. If the
    /// thread is about to fork, whoever uses the command waits for that.)
    ///
    /// # Errors
    /// Those of std: `NotFound` if there is no such program. And those of pidfd_open(2), above all
    /// EMFILE; the process has been killed then.
    pub async fn spawn(&mut self) -> io::Result<Child> {
        self.start(std::process::Command::spawn).await
    }

    async fn start(
        &mut self,
        start: impl FnOnce(&mut std::process::Command) -> io::Result<std::process::Child>
            + Send
            + 'static,
    ) -> io::Result<Child> {
        let command = std::mem::replace(self.own(), std::process::Command::new(""));
        let loan = self.lent.insert(Arc::new(Mutex::new(Some(command)))).clone();
        let spawned = blocking::run(move || lock(&loan).as_mut().map(start)).await;
        self.own();
        let spawned = spawned?.expect("a command is lent until its future is gone");
        Child::new(spawned?, self.kill_on_drop)
    }

    /// The command, taken back if a future that was dropped has lent it.
    fn own(&mut self) -> &mut std::process::Command {
        if let Some(loan) = self.lent.take() {
            self.command = lock(&loan).take().expect("nobody else takes it");
        }
        &mut self.command
    }

    /// Starts the process and waits for its end.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn).
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn().await?.wait().await
    }

    /// Starts the process, and waits for its end and all that it writes. Of its standard streams those
    /// that have been set stay as they are; else it has nothing to read, and what it writes is
    /// collected.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn), and those of reading.
    pub async fn output(&mut self) -> io::Result<Output> {
        let unset = self.unset;
        let start = move |command: &mut std::process::Command| {
            unset.set(command, Stdio::null, Stdio::piped);
            let spawned = command.spawn();
            unset.set(command, Stdio::inherit, Stdio::inherit);
            spawned
        };
        self.start(start).await?.wait_with_output().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A command is changed in single steps: a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
