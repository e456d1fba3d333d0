//! The report as a page of at most 80 columns.

use std::fmt::Write;

use super::{Check, Group, Outcome, Report};

/// The widest line.
pub(super) const WIDTH: usize = 80;
/// Where the words begin behind a name.
const INDENT: usize = 16;

/// The colours of a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Green,
    Yellow,
    Red,
    Bold,
    Dim,
}

struct Page {
    text: String,
    coloured: bool,
}

impl Report {
    /// The report for people: lines of at most 80 columns, with the colours of a terminal if
    /// `coloured`.
    pub fn page(&self, coloured: bool) -> String {
        let mut page = Page { text: String::new(), coloured };
        page.head(self);
        page.verdict(self);
        page.system(self);
        page.limits(self);
        page.functions(self);
        for group in [Group::Setup, Group::Feature, Group::Opcode, Group::Register] {
            page.counted(self, group);
        }
        page.routes(self);
        page.costs(self);
        page.text
    }
}

impl Page {
    fn paint(&self, colour: Colour, words: &str) -> String {
        let code = match colour {
            Colour::Bold => 1,
            Colour::Dim => 2,
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        match self.coloured {
            true => format!("\x1b[{code}m{words}\x1b[0m"),
            false => words.to_owned(),
        }
    }

    fn line(&mut self, words: &str) {
        self.text.push_str(words.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, words: &str) {
        let title = self.paint(Colour::Bold, words);
        self.line("");
        self.line(&title);
    }

    /// A name, and words that go on below each other.
    fn entry(&mut self, name: &str, words: &str, colour: Option<Colour>) {
        for (index, part) in wrap(words, WIDTH - INDENT).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let part = colour.map_or_else(|| part.clone(), |colour| self.paint(colour, &part));
            self.line(&format!("  {name:<width$}{part}", width = INDENT - 2));
        }
    }

    fn head(&mut self, report: &Report) {
        let system = &report.system;
        let what = format!(
            "ringpark {} on {} {} {}",
            report.ringpark, system.kernel, system.release, system.architecture
        );
        let what = self.paint(Colour::Bold, &what);
        self.line(&what);
    }

    fn verdict(&mut self, report: &Report) {
        let verdict = &report.verdict;
        self.title("Verdict");
        let colour = match verdict.backend.as_str() {
            "uring" => Colour::Green,
            "none" => Colour::Red,
            _ => Colour::Yellow,
        };
        self.entry("backend", &verdict.backend, Some(colour));
        // What stands below as a finding needs not stand here as well.
        let reason = match (verdict.backend.as_str(), verdict.findings.is_empty()) {
            ("uring", _) | (_, true) => verdict.reason.as_str(),
            ("none", false) => "no backend starts: see below",
            _ => "io_uring is not in use: see below",
        };
        self.entry("because", reason, None);
        if !verdict.features.is_empty() {
            self.entry("features", &verdict.features.join(" "), None);
        }
        if let (Some(submission), Some(completion)) =
            (verdict.submission_entries, verdict.completion_entries)
        {
            let queues = format!("{submission} submissions, {completion} completions");
            self.entry("queues", &queues, None);
        }
        if let (Some(count), Some(bytes)) = (verdict.buffers, verdict.buffer_bytes) {
            let buffers = format!("up to {count} of {} for a core", size(bytes.into()));
            self.entry("buffers", &buffers, None);
        }
        for (index, off) in verdict.off.iter().enumerate() {
            let name = if index == 0 { "off" } else { "" };
            self.entry(name, &format!("{}: {}", off.name, off.why), None);
        }
        for finding in &verdict.findings {
            self.line("");
            for part in wrap(&finding.words, WIDTH - 2) {
                let part = self.paint(Colour::Red, &part);
                self.line(&format!("  {part}"));
            }
            for remedy in &finding.remedies {
                let place = self.paint(Colour::Dim, &remedy.place);
                self.line(&format!("    {place}:"));
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
                self.entry(name, value, None);
            }
        }
        let sysctl = match (system.io_uring_disabled, &process.sysctl_verdict) {
            (Some(value), Some(words)) => format!("io_uring_disabled={value}: {words}"),
            _ => "there is no kernel.io_uring_disabled".to_owned(),
        };
        self.entry("sysctl", &sysctl, None);
        let number = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
        let capabilities = match process.capabilities.is_empty() {
            true => "without capabilities that matter here".to_owned(),
            false => process.capabilities.join(" "),
        };
        let user = format!("{} group {}; {capabilities}", number(process.uid), number(process.gid));
        self.entry("user", &user, None);
        let mut seccomp = process.seccomp.clone().unwrap_or_else(|| "unknown".to_owned());
        if let Some(count @ 1..) = process.seccomp_filters {
            let _ = write!(seccomp, " ({count})");
        }
        if process.no_new_privileges == Some(true) {
            seccomp.push_str("; no new privileges");
        }
        self.entry("seccomp", &seccomp, None);
        if !system.security_modules.is_empty() {
            let mut modules = system.security_modules.join(" ");
            if let Some(label) = &process.label {
                let _ = write!(modules, "; as {label}");
            }
            self.entry("modules", &modules, None);
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
        self.entry("locked memory", &words, None);
        let number = |value: Option<u64>| value.map_or("no limit".into(), |n| n.to_string());
        let descriptors = match limits.descriptors_max == limits.descriptors {
            true => number(limits.descriptors),
            false => {
                format!("{}, up to {}", number(limits.descriptors), number(limits.descriptors_max))
            }
        };
        self.entry("descriptors", &descriptors, None);
        let mut tasks = number(limits.tasks);
        if let Some(group) = limits.tasks_group {
            let _ = write!(tasks, "; {group} in the control group");
        }
        if let (Some(bounded), Some(unbounded)) = (limits.workers_bounded, limits.workers_unbounded)
        {
            let _ = write!(tasks, "; a ring's workers: {bounded} bounded, {unbounded} unbounded");
        }
        self.entry("threads", &tasks, None);
        if let Some(processors) = limits.processors {
            let mut words = processors.to_string();
            if let Some(percent) = limits.processors_quota_percent {
                let _ = write!(words, ", of which the control group gives {percent} %");
            }
            self.entry("processors", &words, None);
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
                    self.entry(first.outcome.name(), words.trim_end_matches(": "), None);
                }
                _ => all.into_iter().for_each(|check| self.check(check)),
            }
        }
    }

    fn check(&mut self, check: &Check) {
        const NAME: usize = 27;
        const OUTCOME: usize = 9;
        let colour = match check.outcome {
            Outcome::Works => Colour::Green,
            Outcome::Absent => Colour::Yellow,
            Outcome::Refused { .. } | Outcome::Broken { .. } => Colour::Red,
            Outcome::Untried { .. } => Colour::Dim,
        };
        let mut words = match (&check.outcome, &check.since) {
            (Outcome::Absent, Some(since)) => format!("it takes Linux {since}"),
            (Outcome::Works, _) => check.note.clone().unwrap_or_default(),
            (outcome, _) => outcome.why(),
        };
        if words.is_empty() {
            words.push(' ');
        }
        let outcome = format!("{:<OUTCOME$}", check.outcome.name());
        let outcome = self.paint(colour, &outcome);
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
            self.entry(outcome, &words, None);
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
                self.entry(name, &words, None);
            } else {
                self.line(&format!("  {name}"));
                self.entry("", &words, None);
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
