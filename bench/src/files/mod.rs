//! Files: random reads of 4 KiB past the page cache at a depth of 32, and 100,000 small files read
//! whole.
//!
//! Each contestant is this program started again, or fio; none is confined to one CPU, since helper
//! threads are part of what runtimes without a ring do. They take turns, round by round, and
//! ratios are within a round, as everywhere here. What is compared is the rate and the CPU time of
//! the whole process.
//!
//! ```text
//! cargo bench --bench files                                 both, 5 rounds
//! cargo bench --bench files -- reads --rounds 9 --seconds 3
//! cargo bench --bench files -- small --directory /mnt/disk
//! cargo bench --bench files -- reads --only ringpark-uring-fixed,fio
//! ```
//! The directory is the one for temporary files unless another is named; it should be on the disk
//! that is of interest, and must have room for 1 GiB.

mod fio;
mod random;
mod whole;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::options::OURS;
use crate::process::CpuClock;
use crate::stats::Spread;

/// The sub-command of a contestant's process: workload, name, path and seconds follow.
const CONTESTANT: &str = "__files";

/// What one run gave.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Sample {
    /// Reads or files a second.
    rate: f64,
    /// CPU time of the process for each, in nanoseconds.
    cpu_ns: f64,
}

impl Sample {
    /// Measures `work`, which says how many it has done.
    fn of(work: impl FnOnce() -> io::Result<u64>) -> io::Result<Sample> {
        let clock = CpuClock::of(0)?;
        let (began, before) = (Instant::now(), clock.used()?);
        let count = work()? as f64;
        let (wall, used) = (began.elapsed(), clock.used()? - before);
        Ok(Sample { rate: count / wall.as_secs_f64(), cpu_ns: used.as_nanos() as f64 / count })
    }
}

/// One workload, and who runs it.
struct Workload {
    name: &'static str,
    about: &'static str,
    contestants: &'static [&'static str],
    /// To whom the ratios are.
    references: &'static [&'static str],
    prepare: fn(&Path) -> io::Result<PathBuf>,
    run: fn(&str, &Path, Duration) -> io::Result<Sample>,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "reads",
        about: "random reads of 4 KiB with O_DIRECT, 32 under way",
        contestants: random::CONTESTANTS,
        references: random::REFERENCES,
        prepare: random::prepare,
        run: random::run,
    },
    Workload {
        name: "small",
        about: "100,000 files of 1 KiB read whole, 32 at a time",
        contestants: whole::CONTESTANTS,
        references: whole::REFERENCES,
        prepare: whole::prepare,
        run: whole::run::<32>,
    },
    Workload {
        name: "small-1",
        about: "the same, one after the other (on each core)",
        contestants: whole::CONTESTANTS,
        references: whole::REFERENCES,
        prepare: whole::prepare,
        run: whole::run::<1>,
    },
    Workload {
        name: "small-1000",
        about: "the same, 1000 at a time",
        contestants: whole::CONTESTANTS,
        references: whole::REFERENCES,
        prepare: whole::prepare,
        run: whole::run::<1000>,
    },
];

/// What the command line asks for.
struct Options {
    workloads: Vec<&'static Workload>,
    rounds: usize,
    seconds: f64,
    directory: PathBuf,
    /// The contestants, if not all.
    only: Option<Vec<String>>,
}

impl Options {
    fn wants(&self, contestant: &str) -> bool {
        self.only.as_ref().is_none_or(|names| names.iter().any(|name| name == contestant))
    }
}

/// The whole program, given its arguments without its own name.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [CONTESTANT, workload, name, path, seconds] => answer(workload, name, path, seconds),
        words => match parse(words) {
            Ok(Some(options)) => compare(&options),
            Ok(None) => Ok(()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        },
    };
    crate::exit_code(ended)
}

/// `None`: nothing is asked of us, since this is a test run, or what is asked is another bench's.
fn parse(words: &[&str]) -> Result<Option<Options>, String> {
    let elsewhere = |word: &&str| OURS.iter().any(|ours| word.starts_with(ours));
    let ours = ["--rounds", "--seconds"];
    let for_others =
        words.iter().any(|it| elsewhere(it) && !ours.iter().any(|o| it.starts_with(o)));
    if !words.contains(&"--bench") || for_others {
        return Ok(None);
    }
    let mut options = Options {
        workloads: Vec::new(),
        rounds: 5,
        seconds: 2.0,
        directory: std::env::temp_dir(),
        only: None,
    };
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word {
            "--bench" => {}
            "--quick" => (options.rounds, options.seconds) = (2, 0.5),
            "--rounds" => options.rounds = number(word, value()?)?,
            "--seconds" => options.seconds = number(word, value()?)?,
            "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
            "--directory" => options.directory = PathBuf::from(value()?),
            name => match WORKLOADS.iter().find(|workload| workload.name == name) {
                Some(workload) => options.workloads.push(workload),
                // Somebody else's, such as the name of a micro-benchmark.
                None => return Ok(None),
            },
        }
    }
    if options.workloads.is_empty() {
        options.workloads = WORKLOADS.iter().collect();
    }
    Ok(Some(options))
}

fn number<N: std::str::FromStr + PartialOrd + Default>(
    name: &str,
    text: &str,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| *number > N::default());
    number.ok_or_else(|| format!("{name} wants a number above 0, not `{text}`"))
}

/// The life of a contestant's process.
fn answer(workload: &str, name: &str, path: &str, seconds: &str) -> io::Result<()> {
    let workload = WORKLOADS.iter().find(|it| it.name == workload);
    let workload = workload.ok_or_else(|| io::Error::other("no such workload"))?;
    let seconds = seconds.parse().map_err(io::Error::other)?;
    let sample = (workload.run)(name, Path::new(path), Duration::from_secs_f64(seconds))?;
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

fn compare(options: &Options) -> io::Result<()> {
    let scratch = TempDir::with_prefix_in("ringpark-bench-", &options.directory)?;
    for workload in &options.workloads {
        let path = (workload.prepare)(scratch.path())?;
        let mut samples = vec![Vec::new(); workload.contestants.len()];
        for _ in 0..options.rounds {
            for (name, samples) in workload.contestants.iter().zip(&mut samples) {
                let wanted = options.wants(name);
                samples
                    .push(wanted.then(|| once(workload, name, &path, options.seconds)).flatten());
            }
        }
        print(workload, &samples);
    }
    Ok(())
}

/// One run of one contestant; an error is told, and leaves the round out.
fn once(workload: &Workload, name: &str, path: &Path, seconds: f64) -> Option<Sample> {
    let run = || {
        if let Some(kind) = fio::kind(name) {
            return fio::run(kind, path, seconds);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CONTESTANT, workload.name, name]).arg(path).arg(seconds.to_string());
        let output = command.env_remove("RINGPARK_BACKEND").stderr(Stdio::inherit()).output()?;
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout)?),
            false => Err(io::Error::other(output.status.to_string())),
        }
    };
    run().inspect_err(|error| eprintln!("{name}: {error}")).ok()
}

fn print(workload: &Workload, samples: &[Vec<Option<Sample>>]) {
    println!("\n{}: {}", workload.name, workload.about);
    print!("{:<24} {:>10} {:>10}", "contestant", "per second", "CPU ns");
    for reference in workload.references {
        print!("  {:>28}", format!("/{reference}: rate, CPU"));
    }
    println!();
    let of = |index: usize, figure: fn(&Sample) -> f64| -> Vec<Option<f64>> {
        samples[index].iter().map(|sample| sample.as_ref().map(figure)).collect()
    };
    let figures: [fn(&Sample) -> f64; 2] = [|it| it.rate, |it| it.cpu_ns];
    for (index, name) in workload.contestants.iter().enumerate() {
        if samples[index].iter().all(Option::is_none) {
            continue;
        }
        print!("{name:<24}");
        for figure in figures {
            match Spread::of(of(index, figure).into_iter().flatten()) {
                Some(spread) => print!(" {:>10.0}", spread.median),
                None => print!(" {:>10}", "-"),
            }
        }
        for reference in workload.references {
            let other = workload.contestants.iter().position(|it| it == reference);
            let other = other.expect("who is compared with takes part");
            let ratios = figures.map(|figure| {
                match Spread::of_ratios(&of(index, figure), &of(other, figure)) {
                    Some(it) => format!("{:.2} ({:.2}-{:.2})", it.median, it.min, it.max),
                    None => "-".into(),
                }
            });
            print!("  {:>28}", ratios.join(", "));
        }
        println!();
    }
}

/// Numbers that look random and are the same for every contestant.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_runs_what_it_is_named_for() {
        let scratch = TempDir::new().unwrap();
        for workload in WORKLOADS {
            let path = match workload.name {
                "reads" => random::prepare_file(scratch.path(), 64),
                _ => whole::prepare_files(scratch.path(), 100),
            };
            let path = path.unwrap();
            for name in workload.contestants {
                if fio::kind(name).is_some() {
                    continue;
                }
                match (workload.run)(name, &path, Duration::from_millis(20)) {
                    Ok(sample) => assert!(sample.rate > 0.0, "{name}"),
                    Err(error) => {
                        crate::skipped(format_args!("{name} at {}: {error}", workload.name))
                    }
                }
            }
        }
    }

    #[test]
    fn what_belongs_to_other_benches_is_left_to_them() {
        assert!(parse(&["--bench"]).unwrap().is_some());
        assert!(parse(&["--bench", "--rounds", "3", "reads"]).unwrap().is_some());
        assert!(parse(&["--bench", "--workload", "echo-1"]).unwrap().is_none());
        assert!(parse(&["--bench", "timer"]).unwrap().is_none());
        assert!(parse(&[]).unwrap().is_none());
        assert!(parse(&["--bench", "--rounds", "0"]).is_err());
    }
}
