//! Starts contestants and loads, in rounds, and collects their samples.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::contestants::{self, Contestant};
use crate::load::{self, Sample};
use crate::machine::Machine;
use crate::options::Options;
use crate::process::{allowed_cpus, confine, wait_readable};
use crate::report::{Entry, Report, Section};
use crate::workload::{Service, Shape, Workload};

/// How long a process may take beyond what it was asked to: to start, to open connections.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs everything that the options choose.
///
/// A contestant that fails is part of the report, and the others go on.
pub fn run(options: &Options) -> io::Result<Report> {
    let machine = Machine::this()?;
    let cpus = Cpus::choose()?;
    eprintln!("{machine}; contestants on CPU {}, load on CPU {}", cpus.contestant, cpus.load);
    let mut report = Report { machine, sections: Vec::new() };
    for workload in &options.workloads {
        report.sections.push(section(workload, options, &cpus));
    }
    Ok(report)
}

/// What there is to run, as text.
pub fn list() -> String {
    let mut text = String::from("workloads\n");
    for workload in Workload::ALL {
        writeln!(text, "  {:<16} {}", workload.name, workload.about).expect("a string takes all");
    }
    text += "contestants\n";
    for contestant in contestants::ALL {
        writeln!(text, "  {:<16} {}", contestant.name(), contestant.about())
            .expect("a string takes all");
    }
    text
}

/// Who runs where.
struct Cpus {
    contestant: usize,
    load: usize,
}

impl Cpus {
    fn choose() -> io::Result<Self> {
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

fn section(workload: &'static Workload, options: &Options, cpus: &Cpus) -> Section {
    let rounds = options.rounds.min(workload.rounds_max);
    let fit = options.contestants.iter().filter(|one| one.offers(workload.service()));
    let fit: Vec<_> = fit.copied().collect();
    let mut entries: Vec<Entry> = fit.iter().map(|one| Entry::new(one.name())).collect();
    let began = Instant::now();
    for _ in 0..rounds {
        for (contestant, entry) in fit.iter().zip(&mut entries) {
            entry.take(once(*contestant, workload, options, cpus));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{}: {rounds} rounds of {} in {seconds:.0} s", workload.name, fit.len());
    Section { workload, entries }
}

/// One run of one contestant.
fn once(
    contestant: &dyn Contestant,
    workload: &Workload,
    options: &Options,
    cpus: &Cpus,
) -> io::Result<Sample> {
    let warm_up_ms = options.warm_up.as_millis() as u64;
    let window_ms = options.window.as_millis() as u64;
    let patience = options.warm_up + options.window + PATIENCE;
    if let Shape::Timers { armed } = workload.shape {
        let order = contestants::Order::Timers { armed, warm_up_ms, window_ms };
        return Running::own(contestant, &order, cpus)?.answer(patience);
    }
    let origin = match workload.service() {
        Service::Relay => Some(TcpListener::bind("127.0.0.1:0")?),
        Service::Echo | Service::Timers => None,
    };
    let order = match &origin {
        Some(origin) => contestants::Order::Relay { origin: origin.local_addr()? },
        None => contestants::Order::Echo,
    };
    let (running, server) = start(contestant, &order, cpus)?;
    let load = load::Order {
        shape: workload.shape,
        server,
        server_pid: running.child.id(),
        origin_fd: origin.as_ref().map(inheritable).transpose()?,
        warm_up_ms,
        window_ms,
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(crate::LOAD).arg(serde_json::to_string(&load)?);
    let answer = Running::start(command, cpus.load)?.answer(patience);
    // Neither is needed any more, and the next one wants a quiet machine.
    drop(running);
    answer
}

/// Starts a server, and says where it listens.
fn start(
    contestant: &dyn Contestant,
    order: &contestants::Order,
    cpus: &Cpus,
) -> io::Result<(Running, SocketAddr)> {
    // A port that was free a moment ago is the best that a program without port 0 can get.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let Some(program) = contestant.program(order, free.port())? else {
        let mut running = Running::own(contestant, order, cpus)?;
        let line = running.line(PATIENCE)?;
        let address = line.parse().map_err(|_| {
            io::Error::other(format!("{} said `{line}`, not its address", contestant.name()))
        })?;
        return Ok((running, address));
    };
    let running = Running::silent(program, cpus.contestant)?;
    let since = Instant::now();
    while let Err(error) = TcpStream::connect(free) {
        if since.elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((running, free))
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
struct Running {
    child: Child,
    /// What it says, unless it is another program, whose talk is of no interest.
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts this program again as a contestant.
    fn own(
        contestant: &dyn Contestant,
        order: &contestants::Order,
        cpus: &Cpus,
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let order = serde_json::to_string(order)?;
        command.arg(crate::CONTESTANT).arg(contestant.name()).arg(order);
        // It would win over what the contestant's name says.
        command.env_remove("RINGPARK_BACKEND");
        Self::start(command, cpus.contestant)
    }

    /// Starts a process whose output is to be read.
    fn start(mut command: Command, cpu: usize) -> io::Result<Self> {
        confine(&mut command, cpu);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    /// Starts a process whose output is of no interest.
    fn silent(mut command: Command, cpu: usize) -> io::Result<Self> {
        confine(&mut command, cpu);
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
        let list = list();
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
        let cpu = allowed_cpus().unwrap()[0];
        let error = Running::start(command, cpu).unwrap().answer::<Sample>(PATIENCE).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_child_that_hangs_is_an_error_and_does_not_live_on() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let running = Running::start(command, allowed_cpus().unwrap()[0]).unwrap();
        let pid = running.child.id();
        let error = running.answer::<Sample>(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(CpuClock::of(pid).is_err());
    }

    #[test]
    fn a_child_ends_when_it_is_dropped() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let running = Running::start(command, allowed_cpus().unwrap()[0]).unwrap();
        let pid = running.child.id();
        assert!(CpuClock::of(pid).is_ok());
        drop(running);
        assert!(CpuClock::of(pid).is_err());
    }
}
