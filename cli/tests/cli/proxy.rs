//! Starts `ringpark` programs for the tests, and ends them whatever becomes of the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

/// No wait in these tests is longer. It decides no test that passes: it only turns a hang into a
/// failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Stands among the options of a proxy whose listener the command hands in.
pub const HANDED_IN: &str = "(handed in)";

/// The program.
pub fn ringpark() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpark"));
    command.env_remove("RUST_LOG").env_remove("RINGPARK_BACKEND").env_remove("RINGPARK_WITHOUT");
    command
}

/// A running `ringpark proxy` on a port of its own. Killed when dropped.
pub struct Proxy {
    child: Child,
    lines: Receiver<String>,
    /// Everything it has said so far, and `wait_for` has passed.
    said: Vec<String>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Proxy {
    /// Starts it in front of `upstreams`, on one thread if the options do not say otherwise, and
    /// waits until it listens.
    pub fn start(upstreams: &[SocketAddr], options: &[&str]) -> Proxy {
        Proxy::start_as(ringpark(), upstreams, options)
    }

    /// The same with a command of the caller's, such as a shell that lowers a limit first.
    pub fn start_as(mut command: Command, upstreams: &[SocketAddr], options: &[&str]) -> Proxy {
        command.args(["proxy"]);
        let handed_in = options.contains(&HANDED_IN);
        if !handed_in {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let options: Vec<&str> = options.iter().copied().filter(|&it| it != HANDED_IN).collect();
        if !options.contains(&"--threads") {
            command.args(["--threads", "1"]);
        }
        for upstream in upstreams {
            command.args(["--to", &upstream.to_string()]);
        }
        if !handed_in {
            command.stdin(Stdio::null());
        }
        command.args(options).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Proxy { child, lines, said: Vec::new(), addr: nowhere };
        let line = proxy.wait_for("listening on ");
        let (_, rest) = line.split_once("listening on ").expect("just found");
        let addr = rest.split_whitespace().next().expect("an address follows");
        proxy.addr = addr.parse().expect("what it listens on is an address");
        proxy
    }

    /// What it has said, up to the line that was waited for.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// A client's connection, with bounded waits.
    pub fn connect(&self) -> TcpStream {
        bounded(TcpStream::connect(self.addr).expect("the proxy accepts"))
    }

    /// Waits until it says a line that contains `words`, and returns that line.
    pub fn wait_for(&mut self, words: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("never said {words:?}: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended and had not said {words:?}: {:#?}", self.said)
                }
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Waits for its end; its exit status and all that it said.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                // The pipe is closed, so the process has ended or is about to.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("does not end: {:#?}", self.said),
            }
        }
        let status = self.child.wait().expect("its status can be had");
        (status, std::mem::take(&mut self.said))
    }

    /// Asks it to stop, and returns what it said; the exit code must be 0.
    pub fn stop(self) -> Vec<String> {
        self.signal(Signal::TERM);
        let (status, said) = self.wait();
        assert_eq!(status.code(), Some(0), "{said:#?}");
        said
    }

    /// How many descriptors it has open, but for pipes: relays leave theirs to the next ones.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        let descriptors = fs::read_dir(path).expect("its descriptors can be listed");
        let is_pipe = |target: PathBuf| target.to_string_lossy().starts_with("pipe:");
        descriptors
            .flatten()
            .filter(|entry| !fs::read_link(entry.path()).is_ok_and(is_pipe))
            .count()
    }

    /// Waits until no more than `count` descriptors are open. The kernel tells nobody when another
    /// process closes one, so this has to look again and again.
    pub fn wait_for_descriptors(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.descriptors() > count {
            assert!(Instant::now() < end, "{} descriptors, {count} before", self.descriptors());
            thread::yield_now();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The same stream, so that no read or write of it can hang a test.
pub fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream
}

/// The summary among the lines said.
pub fn summary(said: &[String]) -> &str {
    let line = said.iter().find(|line| line.contains("stopped; "));
    line.unwrap_or_else(|| panic!("no summary: {said:#?}"))
}
