//! The command line of the comparison.
//!
//! `cargo bench -- ARGUMENTS` hands the same arguments to this program and to criterion's, so both
//! must live with the other's. What belongs to criterion means that nothing is asked of us.

use std::time::Duration;

use crate::contestants::{self, Contestant};
use crate::workload::Workload;

/// What to run, and how long.
pub struct Options {
    /// The workloads, in their own order.
    pub workloads: Vec<&'static Workload>,
    /// The contestants, in the order in which they take their turns.
    pub contestants: Vec<&'static dyn Contestant>,
    /// How often each has its turn.
    pub rounds: usize,
    /// How long each run is measured.
    pub window: Duration,
    /// How long it runs before that.
    pub warm_up: Duration,
    /// Whether CPUs without work are kept awake.
    pub awake: bool,
}

/// What the arguments ask for.
pub enum Choice {
    /// Compare.
    Run(Options),
    /// Say what there is.
    List,
    /// Do nothing, and say why.
    Leave(String),
}

/// The options that are ours alone: with one of them, criterion's benchmarks have nothing to do.
pub const OURS: &[&str] = &["--workload", "--contestant", "--rounds", "--seconds", "--awake"];

/// Options of criterion that leave us nothing to do. Those with a value are among them.
const THEIRS: &[&str] = &[
    "--baseline",
    "--baseline-lenient",
    "--color",
    "--confidence-level",
    "--discard-baseline",
    "--exact",
    "--format",
    "--ignored",
    "--load-baseline",
    "--measurement-time",
    "--nocapture",
    "--noise-threshold",
    "--noplot",
    "--nresamples",
    "--output-format",
    "--profile-time",
    "--quiet",
    "--sample-size",
    "--save-baseline",
    "--show-output",
    "--significance-level",
    "--verbose",
    "--warm-up-time",
];

/// Reads the arguments, with `all` to choose from.
pub fn parse(arguments: &[&str], all: &[&'static dyn Contestant]) -> Result<Choice, String> {
    let mut bench = false;
    let mut quick = std::env::var_os("RINGPARK_BENCH_QUICK").is_some();
    let mut awake = false;
    let (mut workloads, mut contestants) = (vec![], vec![]);
    let (mut rounds, mut seconds) = (None, None);
    let mut arguments = arguments.iter().flat_map(|argument| match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name, value],
        _ => vec![*argument],
    });
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument {
            "--bench" => bench = true,
            "--quick" => quick = true,
            "--awake" => awake = true,
            "--list" => return Ok(Choice::List),
            "--workload" => workloads.extend(chosen(value()?, "workload", Workload::named)?),
            "--contestant" => contestants
                .extend(chosen(value()?, "contestant", |name| contestants::named(all, name))?),
            "--rounds" => rounds = Some(positive(argument, value()?)?),
            "--seconds" => seconds = Some(positive(argument, value()?)?),
            other if THEIRS.contains(&other) || !other.starts_with('-') => {
                let why = format!("`{other}` is for criterion: nothing is compared here");
                return Ok(Choice::Leave(why));
            }
            other => {
                return Err(format!("there is no option {other}; --list says what can be run"))
            }
        }
    }
    if !bench && workloads.is_empty() && contestants.is_empty() && rounds.is_none() {
        return Ok(Choice::Leave("a test run: the comparison runs under `cargo bench`".into()));
    }
    if workloads.is_empty() {
        workloads = Workload::ALL.iter().filter(|workload| workload.usual).collect();
    }
    if contestants.is_empty() {
        let usual = all.iter().copied().filter(|contestant| contestant.is_usual());
        contestants = usual.collect();
    }
    let (default_rounds, default_seconds, warm_up) = match quick {
        true => (2, 0.2, 0.1),
        false => (5, 0.8, 0.2),
    };
    Ok(Choice::Run(Options {
        workloads,
        contestants,
        rounds: rounds.map_or(default_rounds, |rounds| rounds.ceil() as usize),
        window: Duration::from_secs_f64(seconds.unwrap_or(default_seconds)),
        warm_up: Duration::from_secs_f64(warm_up),
        awake,
    }))
}

/// The things named in a comma-separated list.
fn chosen<T>(names: &str, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(|name| find(name).ok_or(format!("there is no {what} `{name}`; see --list"))).collect()
}

fn positive(option: &str, value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 3600.0 => Ok(number),
        _ => Err(format!("{option} wants a number above 0 and up to 3600, not `{value}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Options {
        match parse(arguments, contestants::ALL) {
            Ok(Choice::Run(options)) => options,
            Ok(Choice::List) => panic!("a list was chosen"),
            Ok(Choice::Leave(why)) => panic!("left: {why}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn error(arguments: &[&str]) -> String {
        parse(arguments, contestants::ALL).err().expect("an error")
    }

    #[test]
    fn everything_runs_by_default() {
        let options = run(&["--bench"]);
        let usual = Workload::ALL.iter().filter(|workload| workload.usual);
        assert_eq!(options.workloads.len(), usual.count());
        assert!(options.contestants.len() < contestants::ALL.len());
        assert!(options.contestants.iter().all(|contestant| contestant.is_usual()));
        assert_eq!(options.rounds, 5);
    }

    #[test]
    fn quick_is_less_of_everything() {
        let (quick, whole) = (run(&["--quick", "--bench"]), run(&["--bench"]));
        assert!(quick.rounds < whole.rounds && quick.window < whole.window);
    }

    #[test]
    fn lists_choose() {
        let options = run(&["--bench", "--workload=echo-1,timers", "--contestant", "tokio"]);
        let names: Vec<_> = options.workloads.iter().map(|workload| workload.name).collect();
        assert_eq!(names, ["echo-1", "timers"]);
        assert_eq!(options.contestants[0].name(), "tokio");
        assert_eq!(options.contestants.len(), 1);
    }

    #[test]
    fn rounds_and_seconds_are_numbers() {
        let options = run(&["--bench", "--rounds", "3", "--seconds", "1.5"]);
        assert_eq!((options.rounds, options.window), (3, Duration::from_millis(1500)));
        assert!(error(&["--bench", "--rounds", "0"]).contains("above 0"));
        assert!(error(&["--bench", "--seconds", "soon"]).contains("`soon`"));
        assert!(error(&["--bench", "--rounds"]).contains("wants a value"));
    }

    #[test]
    fn cpus_may_sleep_unless_that_is_asked_for() {
        assert!(!run(&["--bench"]).awake && run(&["--bench", "--awake"]).awake);
    }

    #[test]
    fn unknown_names_and_options_are_errors() {
        assert!(error(&["--bench", "--workload", "echo-2"]).contains("no workload `echo-2`"));
        assert!(error(&["--bench", "--contestant", "x"]).contains("no contestant `x`"));
        assert!(error(&["--bench", "--wrokload", "echo-1"]).contains("--wrokload"));
    }

    #[test]
    fn what_is_for_criterion_leaves_us_nothing_to_do() {
        for arguments in [&["--bench", "--noplot"][..], &["timers", "--bench"]] {
            assert!(
                matches!(parse(arguments, contestants::ALL), Ok(Choice::Leave(_))),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn a_test_run_compares_nothing() {
        assert!(matches!(parse(&[], contestants::ALL), Ok(Choice::Leave(_))));
        assert!(matches!(parse(&["--list"], contestants::ALL), Ok(Choice::List)));
    }
}
