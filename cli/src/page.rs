//! The report of the probe as a page of at most 80 columns, with the colours of a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use ringpark::probe::{Check, Group, Outcome, Report};

/// The widest line.
const WIDTH: usize = 80;
/// Where the words begin behind a name.
const INDENT: usize = 16;

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

/// The report for people.
pub fn of(report: &Report) -> String {
    let mut page = Page { text: String::new() };
    page.head(report);
    page.verdict(report);
    page.system(report);
    page.limits(report);
    page.functions(report);
    for group in [Group::Setup, Group::Feature, Group::Opcode, Group::Register] {
        page.counted(report, group);
    }
    page.routes(report);
    page.costs(report);
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, words: &str) {
        self.text.push_str(words.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, words: &str) {
        self.line("");
        self.line(&format!("{BOLD}{words}{BOLD:#}"));
    }

    /// A name, and words that go on below each other.
    fn entry(&mut self, name: &str, words: &str, style: Style) {
        for (index, part) in wrap(words, WIDTH - INDENT).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.line(&format!("  {name:<width$}{style}{part}{style:#}", width = INDENT - 2));
        }
    }

    fn head(&mut self, report: &Report) {
        let system = &report.system;
        self.line(&format!(
            "{BOLD}ringpark {} on {} {} {}{BOLD:#}",
            report.ringpark, system.kernel, system.release, system.architecture
        ));
    }

    fn verdict(&mut self, report: &Report) {
        let verdict = &report.verdict;
        self.title("Verdict");
        let style = match verdict.backend.as_str() {
            "uring" => GREEN,
            "none" => RED,
            _ => YELLOW,
        };
        self.entry("backend", &verdict.backend, style);
        // What stands below as a finding needs not stand here as well.
        let reason = match (verdict.backend.as_str(), verdict.findings.is_empty()) {
            ("uring", _) | (_, true) => verdict.reason.as_str(),
            ("none", false) => "no backend starts: see below",
            _ => "io_uring is not in use: see below",
        };
        self.entry("because", reason, PLAIN);
        if !verdict.features.is_empty() {
            self.entry("features", &verdict.features.join(" "), PLAIN);
        }
        if let (Some(submission), Some(completion)) =
            (verdict.submission_entries, verdict.completion_entries)
        {
            let queues = format!("{submission} submissions, {completion} completions");
            self.entry("queues", &queues, PLAIN);
        }
        if let (Some(count), Some(bytes)) = (verdict.buffers, verdict.buffer_bytes) {
            let buffers = format!("up to {count} of {} for a core", size(bytes.into()));
            self.entry("buffers", &buffers, PLAIN);
        }
        for (index, off) in verdict.off.iter().enumerate() {
            let name = if index == 0 { "off" } else { "" };
            self.entry(name, &format!("{}: {}", off.name, off.why), PLAIN);
        }
        for finding in &verdict.findings {
            self.line("");
            for part in wrap(&finding.words, WIDTH - 2) {
                self.line(&format!("  {RED}{part}{RED:#}"));
            }
            for remedy in &finding.remedies {
                self.line(&format!("    {DIM}{}{DIM:#}:", remedy.place));
                self.line(&format!("      {}", remedy.command));
            }
        }
    }

    fn system(&mut self, report: &Report) {
        let (system, process) = (&report.system, &report.process);
        self.title("Machine and process");
        for (name, value) in [
            ("distribution", &system.distribution),
            ("container", &system.container),
            ("machine", &system.machine),
        ] {
            if let Some(value) = value {
                self.entry(name, value, PLAIN);
            }
        }
        let sysctl = match (system.io_uring_disabled, &process.sysctl_verdict) {
            (Some(value), Some(words)) => format!("io_uring_disabled={value}: {words}"),
            _ => "there is no kernel.io_uring_disabled".to_owned(),
        };
        self.entry("sysctl", &sysctl, PLAIN);
        let number = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
        let capabilities = match process.capabilities.is_empty() {
            true => "without capabilities that matter here".to_owned(),
            false => process.capabilities.join(" "),
        };
        let user = format!("{} group {}; {capabilities}", number(process.uid), number(process.gid));
        self.entry("user", &user, PLAIN);
        let mut seccomp = process.seccomp.clone().unwrap_or_else(|| "unknown".to_owned());
        if let Some(count @ 1..) = process.seccomp_filters {
            let _ = write!(seccomp, " ({count})");
        }
        if process.no_new_privileges == Some(true) {
            seccomp.push_str("; no new privileges");
        }
        self.entry("seccomp", &seccomp, PLAIN);
        if !system.security_modules.is_empty() {
            let mut modules = system.security_modules.join(" ");
            if let Some(label) = &process.label {
                let _ = write!(modules, "; as {label}");
            }
            self.entry("modules", &modules, PLAIN);
        }
    }

    fn limits(&mut self, report: &Report) {
        let (memory, limits) = (&report.memory, &report.limits);
        self.title("Limits");
        let mut words = match memory.limit {
            Some(limit) => format!("{} may be locked", size(limit)),
            None => "no limit".to_owned(),
        };
        let _ = write!(words, "; a core needs {}", size(memory.core_bytes));
        words.push_str(match (memory.exempt, memory.charged) {
            (true, _) => "; exempt (CAP_IPC_LOCK)",
            (false, Some(false)) => "; not charged by this kernel",
            (false, _) => "",
        });
        if let Some(cores) = memory.cores_max {
            let _ = write!(words, "; {cores} cores fit in full size");
        }
        self.entry("locked memory", &words, PLAIN);
        let number = |value: Option<u64>| value.map_or("no limit".into(), |n| n.to_string());
        let descriptors = match limits.descriptors_max == limits.descriptors {
            true => number(limits.descriptors),
            false => {
                format!("{}, up to {}", number(limits.descriptors), number(limits.descriptors_max))
            }
        };
        self.entry("descriptors", &descriptors, PLAIN);
        let mut tasks = number(limits.tasks);
        if let Some(group) = limits.tasks_group {
            let _ = write!(tasks, "; {group} in the control group");
        }
        if let (Some(bounded), Some(unbounded)) = (limits.workers_bounded, limits.workers_unbounded)
        {
            let _ = write!(tasks, "; a ring's workers: {bounded} bounded, {unbounded} unbounded");
        }
        self.entry("threads", &tasks, PLAIN);
        if let Some(processors) = limits.processors {
            let mut words = processors.to_string();
            if let Some(percent) = limits.processors_quota_percent {
                let _ = write!(words, ", of which the control group gives {percent} %");
            }
            self.entry("processors", &words, PLAIN);
        }
    }

    fn functions(&mut self, report: &Report) {
        for (group, title) in [(Group::Backend, "Backends"), (Group::Function, "Tried")] {
            self.title(title);
            let of = |check: &&Check| check.group == group;
            let all: Vec<&Check> = report.checks.iter().filter(of).collect();
            match all.split_first() {
                // One cause, and not fifty times.
                Some((first, rest))
                    if rest.len() > 3
                        && !first.outcome.works()
                        && rest.iter().all(|it| it.outcome == first.outcome) =>
                {
                    let words = format!("all of them: {}", first.outcome.why());
                    self.entry(first.outcome.name(), words.trim_end_matches(": "), PLAIN);
                }
                _ => all.into_iter().for_each(|check| self.check(check)),
            }
        }
    }

    fn check(&mut self, check: &Check) {
        const NAME: usize = 27;
        const OUTCOME: usize = 9;
        let style = match check.outcome {
            Outcome::Works => GREEN,
            Outcome::Absent => YELLOW,
            Outcome::Refused { .. } | Outcome::Broken { .. } => RED,
            _ => DIM,
        };
        let mut words = match (&check.outcome, &check.since) {
            (Outcome::Absent, Some(since)) => format!("it takes Linux {since}"),
            (Outcome::Works, _) => check.note.clone().unwrap_or_default(),
            (outcome, _) => outcome.why(),
        };
        if words.is_empty() {
            words.push(' ');
        }
        let outcome = format!("{style}{:<OUTCOME$}{style:#}", check.outcome.name());
        for (index, part) in wrap(&words, WIDTH - 2 - NAME - OUTCOME).into_iter().enumerate() {
            match index {
                0 => self.line(&format!("  {:<NAME$}{outcome}{part}", check.name)),
                _ => self.line(&format!("  {:<width$}{part}", "", width = NAME + OUTCOME)),
            }
        }
    }

    /// A group of many: how many work, and which do not.
    fn counted(&mut self, report: &Report, group: Group) {
        let title = match group {
            Group::Setup => "Flags of io_uring_setup",
            Group::Feature => "Feature bits",
            Group::Opcode => "Opcodes",
            _ => "Operations of io_uring_register",
        };
        let all: Vec<&Check> = report.checks.iter().filter(|check| check.group == group).collect();
        let working = all.iter().filter(|check| check.outcome.works()).count();
        self.title(&format!("{title}: {working} of {} work", all.len()));
        for outcome in ["absent", "refused", "broken", "untried"] {
            let one = |check: &&&Check| check.outcome.name() == outcome;
            let some: Vec<&&Check> = all.iter().filter(one).collect();
            if some.is_empty() {
                continue;
            }
            let words = match some.len() == all.len() {
                true => "all of them".to_owned(),
                false => some
                    .iter()
                    .map(|check| match &check.since {
                        Some(since) => format!("{} ({since})", check.name),
                        None => check.name.clone(),
                    })
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            self.entry(outcome, &words, PLAIN);
        }
    }

    fn routes(&mut self, report: &Report) {
        self.title("Zero-copy sends");
        for route in &report.routes {
            let words = match (&route.outcome, route.copied) {
                (Outcome::Works, Some(true)) => "works; the kernel copies all the same".to_owned(),
                (Outcome::Works, Some(false)) => "works, without a copy".to_owned(),
                (Outcome::Works, None) => "works; whether copied, nobody says".to_owned(),
                (outcome, _) => match outcome.why() {
                    why if why.is_empty() => outcome.name().to_owned(),
                    why => format!("{}: {why}", outcome.name()),
                },
            };
            let name = route.destination.rsplit_once(':').map_or("", |(address, _)| address);
            let name = if name.is_empty() { &route.destination } else { name };
            if name.len() < INDENT - 2 {
                self.entry(name, &words, PLAIN);
            } else {
                self.line(&format!("  {name}"));
                self.entry("", &words, PLAIN);
            }
        }
    }

    fn costs(&mut self, report: &Report) {
        if report.costs.is_empty() {
            return;
        }
        self.title("Costs: the median, and the least, in nanoseconds");
        for cost in &report.costs {
            self.line(&format!("  {:<48}{:>12}{:>12}", cost.name, cost.median_ns, cost.least_ns));
        }
    }
}

/// Breaks words into lines; a word that is too long is broken too.
fn wrap(words: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is always one");
            let taken = line.chars().count();
            let gap = usize::from(taken > 0);
            let length = word.chars().count();
            if taken + gap + length <= width {
                if gap > 0 {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if taken > 0 {
                lines.push(String::new());
                continue;
            }
            let (cut, _) = word.char_indices().nth(width).expect("it is longer than that");
            line.push_str(&word[..cut]);
            word = &word[cut..];
            lines.push(String::new());
        }
    }
    lines
}

/// Bytes in the unit that suits them.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        _ if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use ringpark::probe;
    use serde_json::json;

    /// The lines without colours; none is longer than it may be.
    fn lines(report: &Report) -> Vec<String> {
        let lines: Vec<String> =
            strip_str(&of(report)).to_string().lines().map(str::to_owned).collect();
        for line in &lines {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        lines
    }

    #[test]
    fn a_page_with_everything_on_it_and_long_words_fits_80_columns() {
        let mut report = probe::report_with_routes(&["[::1]:9".parse().unwrap()]);
        report.costs = probe::costs();
        let backend = format!("  {:<14}{}", "backend", report.verdict.backend);
        assert!(lines(&report).contains(&backend));
        report.verdict.reason = "reason ".repeat(50) + &"x".repeat(300);
        report.system.machine = Some("Virtual ".repeat(30));
        report.process.label = Some("label/".repeat(30));
        lines(&report);
        assert!(of(&report).contains("\x1b[32m"), "something works");
    }

    #[test]
    fn a_remedy_stands_on_one_line_so_that_it_can_be_pasted() {
        let mut report = probe::report();
        report.verdict.findings = serde_json::from_value(json!([{
            "cause": "sysctl", "words": "it is forbidden ".repeat(20),
            "remedies": [{"place": "host", "command": "sysctl -w kernel.io_uring_disabled=0"}]
        }]))
        .unwrap();
        let lines = lines(&report);
        let place = lines.iter().position(|line| line == "    host:").unwrap();
        assert_eq!(lines[place + 1], "      sysctl -w kernel.io_uring_disabled=0");
    }

    #[test]
    fn words_are_broken_where_they_must() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("onetwothree", 4), ["onet", "woth", "ree"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn sizes_are_told_in_round_units() {
        let sizes = [0, 1000, 4096, 86016, 8 << 20].map(size);
        assert_eq!(sizes, ["0 bytes", "1000 bytes", "4 KiB", "84 KiB", "8 MiB"]);
    }
}
