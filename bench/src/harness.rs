//! Starts contestants and loads, in rounds, and collects their samples.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::contestants::{self, Contestant};
use crate::load::{self, Sample};
use crate::machine::{Awake, Machine};
use crate::options::Options;
use crate::process::{allowed_cpus, confine, is_listening, wait_readable};
use crate::report::{Absent, Entry, Report, Section};
use crate::workload::{Service, Shape, Workload};

/// How long a process may take beyond what it was asked to: to start, to open connections.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs everything that the options choose.
///
/// A contestant that fails is part of the report, and the others go on.
pub fn run(options: &Options) -> io::Result<Report> {
    let awake = options.awake.then(Awake::ask).transpose()?;
    let machine = Machine::this(awake.as_ref())?;
    let cpus = Cpus::choose()?;
    eprintln!("{machine}; contestants on CPU {}, load on CPU {}", cpus.contestant, cpus.load);
    let scratch = TempDir::with_prefix("ringpark-bench-")?;
    let mut bench = Bench { options, cpus, scratch, present: vec![] };
    let absent = bench.prepare();
    let sections = options.workloads.iter().map(|workload| bench.section(workload)).collect();
    Ok(Report { machine, sections, absent })
}

/// What there is to run, as text.
pub fn list(all: &[&'static dyn Contestant]) -> String {
    let line = |usual: bool, name: &str, about: &str| {
        let mark = if usual { ' ' } else { '*' };
        format!("{mark} {name:<21} {about}\n")
    };
    let workloads = Workload::ALL.iter().map(|one| line(one.usual, one.name, one.about));
    let contestants = all.iter().map(|one| line(one.is_usual(), one.name(), one.about()));
    let mut text = String::from("workloads (what is marked * runs only when it is named)\n");
    text.extend(workloads);
    text += "contestants\n";
    text.extend(contestants);
    text
}

/// Who runs where.
pub(crate) struct Cpus {
    contestant: usize,
    load: usize,
}

impl Cpus {
    pub(crate) fn choose() -> io::Result<Self> {
        let cpus = allowed_cpus()?;
        let (first, last) = match cpus.as_slice() {
            [] => return Err(io::Error::other("no CPU is allowed")),
            [only] => {
                eprintln!("one CPU for contestant and load: rates and latencies mean little");
                (only, only)
            }
            [first, .., last] => (first, last),
        };
        Ok(Self { contestant: *first, load: *last })
    }
}

/// What every run needs.
struct Bench<'a> {
    options: &'a Options,
    cpus: Cpus,
    scratch: TempDir,
    /// The contestants that can be had here.
    present: Vec<&'static dyn Contestant>,
}

impl Bench<'_> {
    /// Finds out which of the contestants can be had, and why the others cannot.
    fn prepare(&mut self) -> Vec<Absent> {
        let mut absent = Vec::new();
        for contestant in &self.options.contestants {
            let mut workloads = self.options.workloads.iter();
            if !workloads.any(|workload| contestant.offers(workload.shape)) {
                continue;
            }
            match contestant.prepare(self.scratch.path()) {
                Ok(()) => self.present.push(*contestant),
                Err(error) => {
                    let contestant = contestant.name();
                    eprintln!("{contestant} is left out: {error}");
                    absent.push(Absent { contestant, why: error.to_string() });
                }
            }
        }
        absent
    }

    fn section(&self, workload: &'static Workload) -> Section {
        let rounds = self.options.rounds.min(workload.rounds_max);
        let fit = self.present.iter().filter(|one| one.offers(workload.shape));
        let fit: Vec<_> = fit.copied().collect();
        let mut entries: Vec<Entry> = fit.iter().map(|one| Entry::new(one.name())).collect();
        let began = Instant::now();
        for _ in 0..rounds {
            for (contestant, entry) in fit.iter().zip(&mut entries) {
                entry.take(self.once(*contestant, workload));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{}: {rounds} rounds of {} in {seconds:.0} s", workload.name, fit.len());
        Section { workload, entries }
    }

    /// One run of one contestant.
    fn once(&self, contestant: &dyn Contestant, workload: &Workload) -> io::Result<Sample> {
        let warm_up_ms = self.options.warm_up.as_millis() as u64;
        let window_ms = self.options.window.as_millis() as u64;
        let patience = self.options.warm_up + self.options.window + PATIENCE;
        let alone = match workload.shape {
            Shape::Timers { armed } => {
                Some(contestants::Order::Timers { armed, warm_up_ms, window_ms })
            }
            Shape::Deadlines { armed } => Some(contestants::Order::Deadlines { armed }),
            Shape::Wake { busy } => {
                Some(contestants::Order::Wake { busy, ringer_cpu: self.cpus.load, window_ms })
            }
            _ => None,
        };
        if let Some(order) = alone {
            let cpus = [self.cpus.contestant];
            return Running::own(contestant, &order, &cpus)?.answer(patience);
        }
        let origin = match workload.shape.service() {
            Service::Relay => Some(TcpListener::bind("127.0.0.1:0")?),
            _ => None,
        };
        let order = match &origin {
            Some(origin) => {
                let bulk = matches!(workload.shape, Shape::Bulk { .. });
                contestants::Order::Relay { origin: origin.local_addr()?, bulk }
            }
            None if workload.shape.service() == Service::EchoOnAll => contestants::Order::EchoOnAll,
            None => contestants::Order::Echo,
        };
        let (running, server) = self.start(contestant, &order)?;
        let load = load::Order {
            shape: workload.shape,
            server,
            server_pid: running.pid(),
            origin_fd: origin.as_ref().map(inheritable).transpose()?,
            warm_up_ms,
            window_ms,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(crate::LOAD).arg(serde_json::to_string(&load)?);
        let answer = Running::start(command, &[self.cpus.load])?.answer(patience);
        // Neither is needed any more, and the next one wants a quiet machine.
        drop(running);
        answer
    }

    /// Starts a server, and says where it listens.
    fn start(
        &self,
        contestant: &dyn Contestant,
        order: &contestants::Order,
    ) -> io::Result<(Running, SocketAddr)> {
        if let Some(started) = program(contestant, order, self.scratch.path(), &self.cpus)? {
            return Ok(started);
        }
        let mut running = match order {
            contestants::Order::EchoOnAll => Running::own(contestant, order, &allowed_cpus()?)?,
            _ => Running::own(contestant, order, &[self.cpus.contestant])?,
        };
        let line = running.line(PATIENCE)?;
        let address = line.parse().map_err(|_| {
            io::Error::other(format!("{} said `{line}`, not its address", contestant.name()))
        })?;
        Ok((running, address))
    }
}

/// Starts a server that is a program of its own; `None` if this one is not.
pub(crate) fn program(
    contestant: &dyn Contestant,
    order: &contestants::Order,
    scratch: &Path,
    cpus: &Cpus,
) -> io::Result<Option<(Running, SocketAddr)>> {
    // A port that was free a moment ago is the best that a program without port 0 can get.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let Some(command) = contestant.program(order, free.port(), scratch)? else { return Ok(None) };
    let mut running = Running::silent(command, &[cpus.contestant])?;
    let since = Instant::now();
    // Trying to connect would tell as well, but a relay would connect to its origin for it.
    while !is_listening(free.port())? {
        if let Some(status) = running.child.try_wait()? {
            return Err(io::Error::other(format!("it did not stay: {status}")));
        }
        if since.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not listen"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(Some((running, free)))
}

/// The number of a descriptor that the next child finds open.
fn inheritable(listener: &TcpListener) -> io::Result<i32> {
    let fd = listener.as_raw_fd();
    // SAFETY: a plain system call on a descriptor that is open.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(fd),
    }
}

/// A child that is killed, and waited for, when nobody needs it any more.
pub(crate) struct Running {
    child: Child,
    /// What it says, unless it is another program, whose talk is of no interest.
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts this program again as a contestant.
    fn own(
        contestant: &dyn Contestant,
        order: &contestants::Order,
        cpus: &[usize],
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let order = serde_json::to_string(order)?;
        command.arg(crate::CONTESTANT).arg(contestant.name()).arg(order);
        // It would win over what the contestant's name says.
        command.env_remove("RINGPARK_BACKEND");
        Self::start(command, cpus)
    }

    /// Starts a process whose output is to be read.
    fn start(mut command: Command, cpus: &[usize]) -> io::Result<Self> {
        confine(&mut command, cpus);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    /// Starts a process whose output is of no interest.
    fn silent(mut command: Command, cpus: &[usize]) -> io::Result<Self> {
        confine(&mut command, cpus);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { child, output: None })
    }

    /// The next line of its output. A line comes whole, or so late that something is wrong.
    fn line(&mut self, patience: Duration) -> io::Result<String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            if !wait_readable(output.get_ref().as_fd(), patience)? {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "it said nothing for too long",
                ));
            }
            output.read_line(&mut line)?;
        }
        if line.is_empty() {
            let status = self.child.wait()?;
            return Err(io::Error::other(format!("it ended without an answer: {status}")));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Its output, read as JSON.
    fn answer<T: DeserializeOwned>(mut self, patience: Duration) -> io::Result<T> {
        let line = self.line(patience)?;
        serde_json::from_str(&line).map_err(|error| io::Error::other(format!("{line}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good; the wait below is what must not be left out.
        if let Err(error) = self.child.kill() {
            eprintln!("process {} was not killed: {error}", self.child.id());
        }
        if let Err(error) = self.child.wait() {
            eprintln!("process {} was not waited for: {error}", self.child.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CpuClock;

    #[test]
    fn the_list_names_everything() {
        let list = list(contestants::ALL);
        for name in Workload::ALL.iter().map(|workload| workload.name) {
            assert!(list.contains(name), "{name}");
        }
        for contestant in contestants::ALL {
            assert!(list.contains(contestant.name()), "{}", contestant.name());
        }
    }

    #[test]
    fn a_child_that_says_nothing_is_an_error_with_its_status() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let cpus = allowed_cpus().unwrap();
        let error = Running::start(command, &cpus).unwrap().answer::<Sample>(PATIENCE).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_child_that_hangs_is_an_error_and_does_not_live_on() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let running = Running::start(command, &allowed_cpus().unwrap()).unwrap();
        let pid = running.child.id();
        let error = running.answer::<Sample>(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(CpuClock::of(pid).is_err());
    }

    #[test]
    fn a_child_ends_when_it_is_dropped() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let running = Running::start(command, &allowed_cpus().unwrap()).unwrap();
        let pid = running.child.id();
        assert!(CpuClock::of(pid).is_ok());
        drop(running);
        assert!(CpuClock::of(pid).is_err());
    }
}
