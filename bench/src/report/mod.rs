//! What came of a comparison: the samples, the figures made of them, and where they are written.

pub mod plot;
pub mod ratios;
pub mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::contestants::REFERENCES;
use crate::load::{Latency, Sample};
use crate::machine::Machine;
use crate::stats::Spread;
use crate::workload::Workload;

/// A whole comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// The workloads, in the order in which they ran.
    pub sections: Vec<Section>,
    /// The contestants that were asked for and cannot be had here.
    pub absent: Vec<Absent>,
}

/// A contestant that is not here.
#[derive(Debug, Serialize)]
pub struct Absent {
    /// Its name.
    pub contestant: &'static str,
    /// What is missing.
    pub why: String,
}

/// One workload and what each contestant did with it.
#[derive(Debug)]
pub struct Section {
    /// The workload.
    pub workload: &'static Workload,
    /// The contestants that offer it.
    pub entries: Vec<Entry>,
}

/// One contestant's rounds.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub contestant: &'static str,
    /// One for each round; `None` where it failed.
    pub samples: Vec<Option<Sample>>,
    /// What went wrong in those rounds.
    pub failures: Vec<String>,
}

/// The figures of one contestant in one workload.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Its name.
    pub contestant: &'static str,
    /// In the workload's cost unit.
    pub cost: Option<Spread>,
    /// In the workload's rate unit.
    pub rate: Option<Spread>,
    /// The medians of the rounds' quantiles.
    pub latency: Option<Latency>,
    /// The server's resident memory.
    pub resident_bytes: Option<Spread>,
    /// The share of its CPU that the server used.
    pub server_busy: Option<Spread>,
    /// The share of its CPU that the load used.
    pub load_busy: Option<Spread>,
    /// Connections that got nothing in a window, where there were any.
    pub starved: Option<Spread>,
    /// Its cost divided by that of each reference, round by round.
    pub ratios: Vec<Option<Spread>>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Report {
    /// How many runs failed.
    pub fn failures(&self) -> usize {
        let entries = self.sections.iter().flat_map(|section| &section.entries);
        entries.map(|entry| entry.failures.len()).sum()
    }
}

impl Section {
    /// The figures of all contestants, in their order.
    pub fn figures(&self) -> Vec<Figures> {
        let references: Vec<_> = self.references().map(|one| one.map(Entry::costs)).collect();
        self.entries.iter().map(|entry| entry.figures(&references)).collect()
    }

    /// Who is behind each of the `REFERENCES` here; `None` if none of them was measured.
    pub fn references(&self) -> impl Iterator<Item = Option<&Entry>> {
        REFERENCES.iter().map(|reference| {
            let measured = self.entries.iter().filter_map(|entry| {
                let offered = reference.contestants.contains(&entry.contestant);
                Some((entry, Spread::of(entry.costs().into_iter().flatten())?.median))
                    .filter(|_| offered)
            });
            measured.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(entry, _)| entry)
        })
    }
}

impl Entry {
    /// A contestant that had no round yet.
    pub fn new(contestant: &'static str) -> Self {
        Self { contestant, samples: Vec::new(), failures: Vec::new() }
    }

    /// Takes the outcome of its next round.
    pub fn take(&mut self, outcome: io::Result<Sample>) {
        match outcome {
            Ok(sample) => self.samples.push(Some(sample)),
            Err(error) => {
                eprintln!("{} failed: {error}", self.contestant);
                self.samples.push(None);
                self.failures.push(error.to_string());
            }
        }
    }

    fn costs(&self) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| Some(sample.as_ref()?.cost)).collect()
    }

    fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.samples.iter().flatten().filter_map(figure))
    }

    fn quantile(&self, which: impl Fn(&Latency) -> u64) -> Option<u64> {
        let spread = self.spread(|sample| Some(which(sample.latency.as_ref()?) as f64))?;
        Some(spread.median as u64)
    }

    fn latency(&self) -> Option<Latency> {
        Some(Latency {
            p50_ns: self.quantile(|latency| latency.p50_ns)?,
            p99_ns: self.quantile(|latency| latency.p99_ns)?,
            p999_ns: self.quantile(|latency| latency.p999_ns)?,
        })
    }

    fn figures(&self, references: &[Option<Vec<Option<f64>>>]) -> Figures {
        let costs = self.costs();
        let ratio = |other: &Option<Vec<_>>| Spread::of_ratios(&costs, other.as_deref()?);
        Figures {
            contestant: self.contestant,
            cost: self.spread(|sample| Some(sample.cost)),
            rate: self.spread(|sample| sample.rate),
            latency: self.latency(),
            resident_bytes: self.spread(|sample| Some(sample.resident_bytes as f64)),
            server_busy: self.spread(|sample| sample.server_busy),
            load_busy: self.spread(|sample| sample.load_busy),
            starved: self
                .spread(|sample| Some(sample.starved as f64))
                .filter(|starved| starved.max > 0.0),
            ratios: references.iter().map(ratio).collect(),
            failures: self.failures.clone(),
        }
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            workload: &'a str,
            about: &'a str,
            cost_unit: &'a str,
            rate_unit: &'a str,
            /// The contestants that `ratios` are taken against, in that order.
            references: Vec<Option<&'a str>>,
            contestants: Vec<Figures>,
            samples: Vec<&'a [Option<Sample>]>,
        }
        let Workload { name, about, cost_unit, rate_unit, .. } = self.workload;
        Written {
            workload: name,
            about,
            cost_unit,
            rate_unit,
            references: self.references().map(|one| Some(one?.contestant)).collect(),
            contestants: self.figures(),
            samples: self.entries.iter().map(|entry| entry.samples.as_slice()).collect(),
        }
        .serialize(serializer)
    }
}

/// Where reports go: `ringpark-bench` in the target directory that the program was built into.
///
/// Cargo marks that directory with a CACHEDIR.TAG, wherever it was told to have it.
pub fn directory(program: &Path) -> PathBuf {
    let marked = program.ancestors().find(|ancestor| ancestor.join("CACHEDIR.TAG").is_file());
    let target = match marked {
        Some(directory) => directory.to_owned(),
        None => std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from),
    };
    target.join("ringpark-bench")
}

/// Writes `results.json`, `results.svg` and `ratios.svg`, and says where they are.
pub fn write(report: &Report, directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let files = [
        ("results.json", serde_json::to_string_pretty(report)?),
        ("results.svg", plot::svg(report)),
        ("ratios.svg", ratios::svg(report)),
    ];
    let write = |(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).map(|()| path)
    };
    files.into_iter().map(write).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sample(cost: f64) -> io::Result<Sample> {
        let latency = Latency { p50_ns: 10_000, p99_ns: 20_000, p999_ns: 1_500_000 };
        Ok(Sample {
            cost,
            rate: Some(1e9 / cost),
            latency: Some(latency),
            resident_bytes: 5 << 20,
            server_busy: Some(0.97),
            load_busy: Some(0.9),
            starved: 0,
        })
    }

    /// Two contestants with three rounds each, of which one failed, and one that always failed.
    pub(crate) fn example() -> Report {
        let mut tokio = Entry::new("tokio");
        [3300.0, 3000.0, 3600.0].map(sample).into_iter().for_each(|outcome| tokio.take(outcome));
        let mut ring = Entry::new("raw-uring");
        ring.take(sample(3000.0));
        ring.take(Err(io::Error::other("it <fell> over")));
        ring.take(sample(3000.0));
        let mut broken = Entry::new("broken");
        (0..3).for_each(|_| broken.take(Err(io::Error::other("never started"))));
        let workload = Workload::named("echo-64").expect("it is there");
        let machine = Machine {
            kernel: "6.18".into(),
            cpu: "A CPU".into(),
            cores: 2,
            congestion_control: "bbr".into(),
            awake: false,
        };
        let entries = vec![tokio, ring, broken];
        let absent = vec![Absent { contestant: "go", why: "no go here".into() }];
        Report { machine, sections: vec![Section { workload, entries }], absent }
    }

    #[test]
    fn figures_are_medians_and_ratios_are_paired() {
        let report = example();
        let figures = report.sections[0].figures();
        let cost = figures[0].cost.unwrap();
        assert_eq!((cost.median, cost.min, cost.max), (3300.0, 3000.0, 3600.0));
        let floor = REFERENCES.iter().position(|one| one.title == "/floor").unwrap();
        let ratio = figures[0].ratios[floor].unwrap();
        // Of rounds one and three: the second has no floor.
        assert!((ratio.min - 1.1).abs() < 1e-9 && (ratio.max - 1.2).abs() < 1e-9, "{ratio:?}");
        assert_eq!(figures[0].latency.unwrap().p99_ns, 20_000);
        assert!(figures[2].cost.is_none());
        assert_eq!(report.failures(), 4);
    }

    #[test]
    fn the_target_directory_is_found_by_its_tag() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        let deps = target.join("release/deps");
        fs::create_dir_all(&deps).unwrap();
        fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        assert_eq!(directory(&deps.join("compare-1")), target.join("ringpark-bench"));
        let written = write(&example(), &directory(&deps.join("compare-1"))).unwrap();
        let json = fs::read_to_string(&written[0]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["sections"][0]["contestants"][0]["cost"]["median"], 3300.0);
        assert_eq!(json["sections"][0]["contestants"][2]["failures"][0], "never started");
    }
}
