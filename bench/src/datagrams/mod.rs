//! Datagrams of 100 bytes, echoed: what a server's CPU time is for each.
//!
//! The load is this process, on a CPU of its own: it has 128 datagrams on the way, sends them as
//! series (`UDP_SEGMENT`) and takes the answers as they come. The kernel takes a series apart for a
//! receiver that has not asked for series, so all contestants get the same. They take turns, round
//! by round, and ratios are within a round.
//!
//! ```text
//! cargo bench --bench datagrams
//! cargo bench --bench datagrams -- --rounds 9 --seconds 1
//! ```

mod servers;

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::process::{allowed_cpus, confine, pin_thread, CpuClock};
use crate::stats::Spread;

/// The sub-command of a contestant's process; its name follows.
const CONTESTANT: &str = "__datagrams";

/// Bytes of a datagram.
const SIZE: usize = 100;
/// Datagrams that are sent at once.
const SERIES: usize = 32;
/// Series on the way.
const WINDOW: usize = 4;

/// The whole program, given its arguments without its own name.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [CONTESTANT, name] => servers::serve(name),
        words => match parse(words) {
            Ok(Some((rounds, time))) => compare(rounds, time),
            Ok(None) => Ok(()),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidInput, error)),
        },
    };
    crate::exit_code(ended)
}

/// Rounds, and how long each lasts; `None` if nothing is asked of us.
fn parse(words: &[&str]) -> Result<Option<(usize, Duration)>, String> {
    let (mut rounds, mut seconds) = (5, 1.0);
    if !words.contains(&"--bench") {
        return Ok(None);
    }
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = || {
            let text = words.next().ok_or(format!("{word} wants a value"))?;
            let number: Option<f64> = text.parse().ok().filter(|number| *number > 0.0);
            number.ok_or(format!("{word} wants a number above 0, not `{text}`"))
        };
        match word {
            "--bench" => {}
            "--quick" => (rounds, seconds) = (2, 0.3),
            "--rounds" => rounds = value()?.ceil() as usize,
            "--seconds" => seconds = value()?,
            // Another bench's: one of its options, or the name of what it measures.
            _ => return Ok(None),
        }
    }
    Ok(Some((rounds, Duration::from_secs_f64(seconds))))
}

/// What one run gave.
#[derive(Clone, Copy)]
struct Sample {
    /// Datagrams that came back, a second.
    rate: f64,
    /// The server's CPU time for each, in nanoseconds.
    cpu_ns: f64,
    /// The share that did not come back.
    lost: f64,
}

fn compare(rounds: usize, time: Duration) -> io::Result<()> {
    let cpus = allowed_cpus()?;
    let (&first, &last) = (cpus.first(), cpus.last()).zip_or_none()?;
    pin_thread(last)?;
    let mut samples = vec![Vec::new(); servers::ALL.len()];
    for _ in 0..rounds {
        for (name, samples) in servers::ALL.iter().zip(&mut samples) {
            let sample = once(name, first, time);
            samples.push(sample.inspect_err(|error| eprintln!("{name}: {error}")).ok());
        }
    }
    let of = |index: usize, figure: fn(&Sample) -> f64| -> Vec<Option<f64>> {
        samples[index].iter().map(|sample| sample.as_ref().map(figure)).collect()
    };
    let tokio = servers::ALL.iter().position(|name| *name == "tokio").expect("it takes part");
    println!("datagrams of {SIZE} bytes, echoed, {} on the way", SERIES * WINDOW);
    println!(
        "{:<24} {:>10} {:>10} {:>6}  /tokio: CPU",
        "contestant", "per second", "CPU ns", "lost"
    );
    for (index, name) in servers::ALL.iter().enumerate() {
        let figures: [fn(&Sample) -> f64; 3] = [|it| it.rate, |it| it.cpu_ns, |it| it.lost * 100.0];
        let [rate, cpu, lost] = figures.map(|figure| {
            Spread::of(of(index, figure).into_iter().flatten()).map_or(f64::NAN, |it| it.median)
        });
        let ratio = Spread::of_ratios(&of(index, |it| it.cpu_ns), &of(tokio, |it| it.cpu_ns));
        let ratio = ratio
            .map_or("-".into(), |it| format!("{:.2} ({:.2}-{:.2})", it.median, it.min, it.max));
        println!("{name:<24} {rate:>10.0} {cpu:>10.0} {lost:>5.1}%  {ratio}");
    }
    Ok(())
}

/// Both, or an error that says that there is no CPU.
trait ZipOrNone<T> {
    fn zip_or_none(self) -> io::Result<(T, T)>;
}

impl<T> ZipOrNone<T> for (Option<T>, Option<T>) {
    fn zip_or_none(self) -> io::Result<(T, T)> {
        self.0.zip(self.1).ok_or_else(|| io::Error::other("no CPU is allowed"))
    }
}

/// A server that is killed when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str, cpu: usize) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CONTESTANT, name]).env_remove("RINGPARK_BACKEND");
        confine(&mut command, &[cpu]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim_end().parse() {
            Ok(address) => Ok(Server { child, address }),
            Err(_) => Err(io::Error::other(format!("it did not start: {}", child.wait()?))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("process {} was not ended: {error}", self.child.id());
        }
    }
}

fn once(name: &str, cpu: usize, time: Duration) -> io::Result<Sample> {
    let server = Server::start(name, cpu)?;
    let clock = CpuClock::of(server.child.id())?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.address)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    set(&socket, libc::UDP_SEGMENT, SIZE as i32)?;
    set(&socket, libc::UDP_GRO, 1)?;
    let (begin, end) = (Instant::now() + time / 5, Instant::now() + time / 5 + time);
    let (mut opened, mut waiting) = (None, 0);
    let (mut back, mut lost) = (0_u64, 0_u64);
    let series = vec![7; SIZE * SERIES];
    let mut buffer = vec![0; 1 << 16];
    loop {
        while waiting + SERIES <= SERIES * WINDOW {
            socket.send(&series)?;
            waiting += SERIES;
        }
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let count = len / SIZE;
                back += count as u64;
                waiting = waiting.saturating_sub(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                lost += waiting as u64;
                waiting = 0;
            }
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        match opened {
            None if now >= begin => {
                opened = Some((now, clock.used()?));
                (back, lost) = (0, 0);
            }
            Some((since, before)) if now >= end => {
                let used = clock.used()? - before;
                let rate = back as f64 / (now - since).as_secs_f64();
                let cpu_ns = used.as_nanos() as f64 / back as f64;
                return Ok(Sample { rate, cpu_ns, lost: lost as f64 / (back + lost) as f64 });
            }
            _ => {}
        }
    }
}

/// Sets an option of UDP.
fn set(socket: &UdpSocket, option: i32, value: i32) -> io::Result<()> {
    let (value, size) = (&raw const value, size_of::<i32>() as libc::socklen_t);
    let fd = socket.as_raw_fd();
    // SAFETY: the value is a local of the size that is told.
    match unsafe { libc::setsockopt(fd, libc::SOL_UDP, option, value.cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
