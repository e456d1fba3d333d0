//! What is different from an earlier report: before and after an upgrade.

use super::Report;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What it is about, such as `function multishot-recv`.
    pub what: String,
    /// What was; `None` if there was no such thing.
    pub before: Option<String>,
    /// What is.
    pub after: Option<String>,
}

/// The differences, in the order of the page. Costs and the time that the probe took are no
/// differences, since they never come out twice.
pub fn diff(before: &Report, after: &Report) -> Vec<Change> {
    let (old, new) = (facts(before), facts(after));
    let find = |list: &[(String, String)], what: &str| {
        list.iter().find(|(name, _)| name == what).map(|(_, value)| value.clone())
    };
    let mut changes = Vec::new();
    for (what, value) in &new {
        let was = find(&old, what);
        if was.as_ref() != Some(value) {
            changes.push(Change { what: what.clone(), before: was, after: Some(value.clone()) });
        }
    }
    for (what, value) in old {
        if find(&new, &what).is_none() {
            changes.push(Change { what, before: Some(value), after: None });
        }
    }
    changes
}

/// The report as names and words.
fn facts(report: &Report) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut add = |what: &str, value: String| facts.push((what.to_owned(), value));
    let shown = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    let (verdict, system, process) = (&report.verdict, &report.system, &report.process);
    add("backend", verdict.backend.clone());
    add("reason", verdict.reason.clone());
    add("features in use", verdict.features.join(" "));
    add("submission queue", shown(verdict.submission_entries.map(u64::from)));
    add("completion queue", shown(verdict.completion_entries.map(u64::from)));
    let causes: Vec<&str> = verdict.findings.iter().map(|f| f.cause.as_str()).collect();
    add("findings", causes.join(" "));
    add("ringpark", report.ringpark.clone());
    add("kernel", format!("{} {}", system.kernel, system.release));
    add("architecture", system.architecture.clone());
    add("distribution", told(&system.distribution));
    add("container", told(&system.container));
    add("machine", told(&system.machine));
    add("kernel.io_uring_disabled", shown(system.io_uring_disabled.map(u64::from)));
    let group = system.io_uring_group.map_or_else(|| "none".to_owned(), |group| group.to_string());
    add("kernel.io_uring_group", group);
    add("security modules", system.security_modules.join(" "));
    add("user", shown(process.uid.map(u64::from)));
    add("capabilities", process.capabilities.join(" "));
    add("seccomp", told(&process.seccomp));
    add("locked memory", shown(report.memory.limit));
    add("rings are charged", report.memory.charged.map_or("unknown".into(), |it| it.to_string()));
    add("descriptors", shown(report.limits.descriptors));
    add("processors", shown(report.limits.processors));
    for check in &report.checks {
        let why = check.outcome.why();
        let name = check.outcome.name();
        let value = if why.is_empty() { name.to_owned() } else { format!("{name}: {why}") };
        add(&format!("{} {}", check.group.name(), check.name), value);
    }
    for route in &report.routes {
        // The port of loopback is the kernel's choice.
        let destination = route.source.as_ref().unwrap_or(&route.destination);
        let copied = match route.copied {
            Some(true) => ", copied",
            Some(false) => ", not copied",
            None => "",
        };
        add(
            &format!("zero-copy send from {destination}"),
            format!("{}{copied}", route.outcome.name()),
        );
    }
    facts
}
