//! `ringpark probe` as scripts and people meet it.

use std::fs;
use std::process::{Command, Output, Stdio};

use ringpark::probe::Report;
use serde_json::Value;
use tempfile::TempDir;

use crate::proxy::ringpark;

fn probe(args: &[&str]) -> Output {
    let mut command = ringpark();
    command.arg("probe").args(args).env_remove("NO_COLOR");
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it says UTF-8")
}

/// What it prints; it must end well and say nothing else.
fn printed(args: &[&str]) -> String {
    let output = probe(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{args:?}");
    text(&output.stdout).to_owned()
}

/// The exit code and the one line on stderr.
fn refusal(args: &[&str]) -> (Option<i32>, String) {
    let output = probe(args);
    let said = text(&output.stderr).to_owned();
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(said.starts_with("ringpark: "), "{said}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    (output.status.code(), said)
}

/// A file in a folder of the test's own.
fn file(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the folder for such files can be written to");
    path.to_str().expect("its name is UTF-8").to_owned()
}

#[test]
fn the_page_is_plain_where_it_is_piped() {
    let page = printed(&[]);
    assert!(page.starts_with("ringpark "), "{page}");
    assert!(!page.contains('\x1b'));
    for title in ["Verdict", "Machine and process", "Limits", "Backends", "Opcodes"] {
        assert!(page.lines().any(|line| line.starts_with(title)), "no {title} in {page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}

#[test]
fn the_page_is_coloured_on_a_terminal_unless_that_is_not_wanted() {
    // script(1) runs a command on a terminal.
    let on_a_terminal = |no_color: &str| {
        let line = format!("{} probe", env!("CARGO_BIN_EXE_ringpark"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        command.env("TERM", "xterm").env("NO_COLOR", no_color);
        let output = command.output().expect("script(1) is part of every distribution");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(on_a_terminal("").contains("\x1b[1m"));
    assert!(!on_a_terminal("1").contains("\x1b["));
}

#[test]
fn json_is_the_report_and_comes_back() {
    let json = printed(&["--json", "--costs"]);
    let value: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(value["schema"], ringpark::probe::SCHEMA);
    assert!(!value["costs"].as_array().expect("an array").is_empty());
    let report: Report = serde_json::from_str(&json).expect("it is a report");
    assert_eq!(serde_json::to_value(&report).expect("it has a form"), value);
}

#[test]
fn the_schema_knows_every_field() {
    let schema: Value = serde_json::from_str(&printed(&["--schema"])).expect("it is JSON");
    let report: Value = serde_json::from_str(&printed(&["--json"])).expect("it is JSON");
    assert_eq!(schema["properties"]["schema"]["const"], report["schema"]);
    let names = |value: &Value| -> Vec<String> {
        let mut names: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(&schema["properties"]), names(&report));
    for part in ["verdict", "system", "process", "memory", "limits"] {
        assert_eq!(names(&schema["$defs"][part]["properties"]), names(&report[part]), "{part}");
    }
}

#[test]
fn what_is_required_decides_the_exit_code() {
    for met in
        [&["--require", "epoll"][..], &["--require", "epoll,poll"], &["--require=backend:poll"]]
    {
        assert_eq!(printed(met), "");
    }
    let (code, said) = refusal(&["--require", "epoll", "--require", "socket-getsockopt-tcp"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("socket-getsockopt-tcp is required and missing: "), "{said}");
    assert!(!said.contains("epoll is required"), "{said}");
    let (code, said) = refusal(&["--require", "io_uring"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing is called `io_uring`"), "{said}");
    let (code, said) = refusal(&["--require", "flag:sqpoll"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is no group"), "{said}");
}

#[test]
fn a_forced_backend_is_no_io_uring_and_the_exit_code_says_so() {
    let mut command = ringpark();
    command.args(["probe", "--require", "uring"]).env("RINGPARK_BACKEND", "epoll");
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains("uring is required and missing: forced by RINGPARK_BACKEND"), "{said}");
}

#[test]
fn a_report_is_compared_with_an_earlier_one() {
    let json = printed(&["--json"]);
    let folder = TempDir::new().expect("a folder");
    let same = file(&folder, "same.json", &json);
    assert_eq!(printed(&["--diff", &same]), "nothing has changed\n");

    let mut value: Value = serde_json::from_str(&json).expect("it is JSON");
    value["system"]["release"] = "5.10.0".into();
    let other = file(&folder, "other.json", &value.to_string());
    let changes = printed(&["--diff", &other]);
    assert!(changes.starts_with("kernel\n  - Linux 5.10.0\n  + Linux "), "{changes}");
    assert_eq!(changes.lines().count(), 3, "{changes}");

    value["schema"] = 999.into();
    let newer = file(&folder, "newer.json", &value.to_string());
    let (code, said) = refusal(&["--diff", &newer]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("form 999"), "{said}");
}

#[test]
fn what_is_no_report_is_refused() {
    let (code, said) = refusal(&["--diff", "/nowhere/report.json"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot read /nowhere/report.json"), "{said}");
    let folder = TempDir::new().expect("a folder");
    for content in ["", "[1, 2]", "{\"schema\": 1}"] {
        let path = file(&folder, "none.json", content);
        let (code, said) = refusal(&["--diff", &path]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no report of `ringpark probe --json`"), "{said}");
    }
}

#[test]
fn the_seccomp_profile_is_json_that_allows_io_uring_and_denies_the_rest() {
    let profile: Value = serde_json::from_str(&printed(&["--seccomp-profile"])).expect("JSON");
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let allowed = profile["syscalls"][0]["names"].as_array().expect("a list");
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "epoll_wait", "execve"] {
        assert!(allowed.iter().any(|name| name == call), "{call}");
    }
    assert!(!allowed.iter().any(|name| name == "ptrace" || name == "mount"));
}

#[test]
fn a_route_is_named_with_what_became_of_it() {
    let json = printed(&["--json", "--route", "127.0.0.1:9"]);
    let report: Report = serde_json::from_str(&json).expect("it is a report");
    assert_eq!(report.routes.len(), 2);
    assert_eq!(report.routes[1].destination, "127.0.0.1:9");
    let (code, said) = refusal(&["--route", "nowhere"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--route nowhere"), "{said}");
}

#[test]
fn modes_that_exclude_each_other_are_refused() {
    for args in [&["--json", "--seccomp-profile"][..], &["--diff", "x", "--require", "uring"]] {
        let (code, said) = refusal(args);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cannot be used with"), "{said}");
    }
}
