//! Child processes: started, spoken to through pipes, and waited for.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

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
    command: std::process::Command,
    kill_on_drop: bool,
}

impl Command {
    /// A command by this name, which is looked for in `PATH`, without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command { command: std::process::Command::new(program), kill_on_drop: false }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.command.env(key, value);
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.command.env_remove(key);
        self
    }

    /// Lets the child's environment begin empty.
    pub fn env_clear(&mut self) -> &mut Command {
        self.command.env_clear();
        self
    }

    /// The child's folder.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.command.current_dir(folder);
        self
    }

    /// What the child reads from; its parent's own by default.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.command.stdin(stdin);
        self
    }

    /// What the child writes to; its parent's own by default.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.command.stdout(stdout);
        self
    }

    /// What the child writes its complaints to; its parent's own by default.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.command.stderr(stderr);
        self
    }

    /// Whether dropping the [`Child`] kills the process. It does not by default.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// The command in std's form, for what has no method here. Whatever is to be called in the child
    /// (`pre_exec`) runs there after a fork from a helper thread.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.command
    }

    /// Starts the process. The fork is done by a helper thread, so that the core does not wait for
    /// it; dropping the future starts it all the same, and nobody waits for it then.
    ///
    /// # Errors
    /// Those of std: `NotFound` if there is no such program. And those of pidfd_open(2), above all
    /// EMFILE; the process has been killed then.
    pub async fn spawn(&mut self) -> io::Result<Child> {
        let command = std::mem::replace(&mut self.command, std::process::Command::new(""));
        let (command, spawned) = blocking::run(move || {
            let mut command = command;
            let spawned = command.spawn();
            (command, spawned)
        })
        .await?;
        self.command = command;
        Child::new(spawned?, self.kill_on_drop)
    }

    /// Starts the process and waits for its end.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn).
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn().await?.wait().await
    }

    /// Starts the process with nothing to read, and waits for its end and all that it writes.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn), and those of reading.
    pub async fn output(&mut self) -> io::Result<Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn().await?.wait_with_output().await
    }
}
