//! The probe: what it says is what a core then does, and it names the right cause each time.

use ringpark::probe::{self, Finding, Group, Outcome, Report, Requirement};
use ringpark::{Backend, Builder};

use crate::harness::*;
use crate::running::{automatic, flags, line_of_choice};

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Uring: "Y3" => the_probe_s_verdict_is_what_a_core_runs_on,
    Plain: "Y5" => the_probe_s_verdict_follows_the_environment,
    Once: "Y1" => the_probe_names_a_filter_that_answers_eperm,
    Once: "Y1" => the_probe_names_a_filter_that_answers_enosys,
    Once: "Y1" => the_probe_outlives_a_filter_that_kills,
    PlainUring: "Y2" => the_probe_names_a_limit_without_room_for_a_ring,
    OwnUser: "Y2" => the_probe_names_a_limit_with_room_for_a_small_ring,
    OwnUser: "V1" => the_probe_leaves_no_memory_charged,
    OwnUser: "V1" => the_probe_needs_no_privileges,
    Once: "V1" => the_probe_leaves_no_descriptor_and_no_thread,
    Once: "V2" => a_requirement_is_met_or_says_why_not,
    Once: "V2" => reports_are_compared,
];

/// The report, and the log's line of a core that was started afterwards: they say the same.
fn report_and_line() -> (Report, String) {
    let report = probe::report();
    let verdict = &report.verdict;
    let backend = automatic(Builder::new());
    assert_eq!(verdict.backend, backend.to_string(), "{verdict:?}");
    let line = line_of_choice();
    assert!(line.contains(&verdict.reason), "{} in: {line}", verdict.reason);
    if backend == Backend::Uring {
        assert_eq!(verdict.features.join("|"), flags(&line));
        let entries = (verdict.submission_entries, verdict.completion_entries);
        let (Some(submission), Some(completion)) = entries else { panic!("{entries:?}") };
        assert!(line.contains(&format!("entries={submission}/{completion}")), "{line}");
    }
    (report, line)
}

/// The one finding, which has this cause.
fn finding<'a>(report: &'a Report, cause: &str) -> &'a Finding {
    let findings = &report.verdict.findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].cause, cause, "{findings:?}");
    assert!(!findings[0].remedies.is_empty());
    for remedy in &findings[0].remedies {
        // On one line, so that it can be pasted.
        assert!(!remedy.command.contains('\n'), "{remedy:?}");
    }
    &findings[0]
}

/// With all features and without each.
fn the_probe_s_verdict_is_what_a_core_runs_on(variant: &Variant) {
    let missing = ringpark::runtime::Feature::ALL.iter().find(|&&feature| variant.lacks(feature));
    if let Some(missing) = missing {
        std::env::set_var("RINGPARK_WITHOUT", missing.to_string());
    }
    let (report, _) = report_and_line();
    assert_eq!(report.schema, probe::SCHEMA);
    if let Some(missing) = missing {
        let shown = report.verdict.features.contains(&missing.to_string());
        assert!(!shown, "{missing} is in use: {:?}", report.verdict);
    }
}

/// A forced backend is what the verdict names, and who forced it.
fn the_probe_s_verdict_follows_the_environment(variant: &Variant) {
    std::env::set_var("RINGPARK_BACKEND", variant.backend().to_string());
    let (report, _) = report_and_line();
    assert!(report.verdict.reason.contains("RINGPARK_BACKEND"), "{}", report.verdict.reason);
    assert!(report.verdict.findings.is_empty());
}

fn filtered(errno: i32) {
    sys::refuse_io_uring(errno);
    let (report, _) = report_and_line();
    let remedies = &finding(&report, "seccomp").remedies;
    assert!(remedies.iter().any(|remedy| remedy.command.contains("--security-opt seccomp=")));
    assert_eq!(report.process.seccomp.as_deref(), Some("filter"));
    let uring = report.check(Group::Backend, "uring").expect("it is among the backends");
    assert!(matches!(uring.outcome, Outcome::Refused { errno: e, .. } if e == errno), "{uring:?}");
    let epoll = report.check(Group::Backend, "epoll").expect("it is among the backends");
    assert!(epoll.outcome.works());
}

/// EPERM, as from a container's filter.
fn the_probe_names_a_filter_that_answers_eperm(_: &Variant) {
    filtered(libc::EPERM);
}

/// ENOSYS, as from a filter that plays an old kernel.
fn the_probe_names_a_filter_that_answers_enosys(_: &Variant) {
    filtered(libc::ENOSYS);
}

/// Where the attempt is deadly, another process dies of it, and the remedy is there.
fn the_probe_outlives_a_filter_that_kills(_: &Variant) {
    sys::kill_over_io_uring();
    let report = probe::report();
    let remedies = &finding(&report, "seccomp-kills").remedies;
    assert!(remedies.iter().any(|remedy| remedy.command.contains("RINGPARK_BACKEND=epoll")));
    assert_eq!(report.verdict.backend, "none");
    std::env::set_var("RINGPARK_BACKEND", "epoll");
    assert_eq!(probe::report().verdict.backend, "epoll");
    assert_eq!(automatic(Builder::new()), Backend::Epoll);
}

fn limited(bytes: u64) {
    sys::set_locked_memory_limit(bytes);
    sys::become_nobody();
}

/// No memory may be locked.
fn the_probe_names_a_limit_without_room_for_a_ring(_: &Variant) {
    sys::set_locked_memory_limit(0);
    sys::give_up_privileges();
    let (report, line) = report_and_line();
    let finding = finding(&report, "locked-memory");
    assert!(finding.words.contains("is 0 bytes"), "{}", finding.words);
    assert!(line.contains(&finding.words), "{line}");
    assert!(finding.remedies.iter().any(|remedy| remedy.command.starts_with("ulimit -l ")));
    assert_eq!((report.memory.limit, report.memory.cores_max), (Some(0), Some(0)));
    assert_eq!(report.memory.charged, Some(true));
}

/// A small ring is a ring, and the finding says what a large one takes.
fn the_probe_names_a_limit_with_room_for_a_small_ring(_: &Variant) {
    limited(80 << 10);
    let report = probe::report();
    assert_eq!(report.verdict.backend, "uring");
    assert!(report.verdict.submission_entries < Some(256), "{:?}", report.verdict);
    let finding = finding(&report, "locked-memory");
    assert!(finding.words.contains("81920 bytes") && finding.words.contains("needs 86016"));
    let recv = report.check(Group::Function, "multishot-recv").expect("it is tried");
    assert!(recv.outcome.works(), "{recv:?}");
}

/// A core that starts after the probe finds room for a ring of full size, where there is room for
/// one and a bit.
fn the_probe_leaves_no_memory_charged(_: &Variant) {
    limited(150 << 10);
    let full = Some(256);
    assert_eq!(probe::report().verdict.submission_entries, full);
    // The kernel gives the memory of a ring back in its own time, that of this loop as well.
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        automatic(Builder::new());
        let lines = log::lines_with("backend=");
        if lines.last().is_some_and(|line| line.contains("entries=256/4096")) {
            return;
        }
    }
    panic!("the memory is still charged: {}", log::text());
}

/// All that root finds to work works for nobody, but for what is told to take a privilege.
fn the_probe_needs_no_privileges(_: &Variant) {
    let root = probe::report();
    limited(8 << 20);
    let nobody = probe::report();
    assert_eq!(nobody.verdict, root.verdict);
    for (check, of_root) in nobody.checks.iter().zip(&root.checks) {
        let refused = matches!(check.outcome, Outcome::Refused { .. });
        let same = check == of_root;
        assert!(
            same || (["zcrx-ifq", "zero-copy-receive"].contains(&&*check.name) && refused),
            "{check:?}, and as root {of_root:?}"
        );
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("the threads can be listed").count()
}

/// Neither descriptors nor threads are left; a kernel thread of a ring may take a moment to end.
fn the_probe_leaves_no_descriptor_and_no_thread(_: &Variant) {
    let before = (sys::descriptors(), threads());
    drop(probe::report());
    drop(probe::costs());
    for _ in 0..1000 {
        if threads() == before.1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!((sys::descriptors(), threads()), before);
}

/// Names, groups, and what is no name.
fn a_requirement_is_met_or_says_why_not(_: &Variant) {
    sys::refuse_io_uring(libc::EPERM);
    let report = probe::report();
    let judge = |text: &str| text.parse::<Requirement>().expect("a form").check(&report);
    assert_eq!(judge("epoll"), Ok(Ok(())));
    assert_eq!(judge("backend:poll"), Ok(Ok(())));
    for name in ["uring", "backend:uring", "setup:cqsize"] {
        let why = judge(name).expect("it is known").expect_err("it is refused");
        assert!(why.contains("seccomp") || why.contains("not permitted"), "{name}: {why}");
    }
    for name in ["multishot-recv", "opcode:accept", "register:probe", "feature:nodrop"] {
        let why = judge(name).expect("it is known").expect_err("there is no ring");
        assert!(why.contains("no ring"), "{name}: {why}");
    }
    let unknown = judge("multishot-recieve").expect_err("a mistake").to_string();
    assert!(unknown.contains("multishot-recv"), "{unknown}");
    assert!(judge("setup:multishot-recv").is_err(), "of another group");
    for text in ["", "setup:", "nogroup:uring"] {
        assert!(text.parse::<Requirement>().is_err(), "{text:?}");
    }
}

/// What a report has that another has not.
fn reports_are_compared(_: &Variant) {
    let before = probe::report();
    assert_eq!(probe::diff(&before, &probe::report()), []);
    sys::refuse_io_uring(libc::EPERM);
    let changes = probe::diff(&before, &probe::report());
    let of = |what: &str| changes.iter().find(|change| change.what == what);
    if before.process.seccomp.as_deref() == Some("filter") {
        assert_eq!(of("seccomp"), None, "there was a filter from the start");
        return;
    }
    let seccomp = of("seccomp").expect("there is a filter now");
    assert_eq!(seccomp.before.as_deref(), Some("none"));
    assert_eq!(seccomp.after.as_deref(), Some("filter"));
    assert!(of("findings").is_some() && of("kernel").is_none());
}
