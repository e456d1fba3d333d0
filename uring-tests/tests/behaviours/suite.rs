//! The suite about itself: every operation has a test, and so has every method. That every promise has one
//! is held by `ci/promises.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::*;
use crate::BEHAVIOURS;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Once: "" => every_operation_has_a_test,
    Once: "" => every_method_has_a_test,
    Once: "" => every_file_operation_says_where_it_runs,
    Once: "" => names_are_unique,
];

/// Sources of what users call, files or folders, and the files here that call all of it.
const SURFACE: &[(&str, &[&str])] = &[
    ("net/udp", &["udp", "udp_options", "options"]),
    ("net/unix", &["unix", "unix_datagrams", "moves"]),
    ("net/split.rs", &["streams", "unix"]),
    ("net/socket.rs", &["connect", "options"]),
    ("net/options.rs", &["options"]),
    ("net/resolve.rs", &["connect"]),
    ("io/pipe.rs", &["processes"]),
    ("io/stdio.rs", &["processes"]),
    ("process", &["processes"]),
    ("io/descriptor.rs", &["read_write", "files"]),
    ("io/methods.rs", &["streams", "read_write", "close", "deadlines", "zero_copy"]),
    ("fs", &["files"]),
    ("buf/aligned.rs", &["files"]),
    ("buf/fixed.rs", &["fixed_buffers"]),
];

fn all() -> impl Iterator<Item = &'static Behaviour> {
    BEHAVIOURS.iter().copied().flatten()
}

/// An operation that no test needs may as well be broken.
fn every_operation_has_a_test(_: &Variant) {
    let sources = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/op"));
    let mut listed = BTreeSet::new();
    for row in sources.split("/// Tried by `").skip(1) {
        let (test, rest) = row.split_once('`').expect("the name of a test ends");
        let (_, operation) = rest.split_once("Row::new(\"").expect("a row follows");
        let (operation, _) = operation.split_once('"').expect("its name ends");
        assert!(all().any(|behaviour| behaviour.name == test), "{operation}: no test `{test}`");
        listed.insert(operation);
    }
    let known: BTreeSet<&str> = ringpark::Builder::operations().iter().copied().collect();
    assert_eq!(listed, known, "each row in src/op says which test tries it");
}

/// A method that no test calls is a promise that nobody keeps either.
fn every_method_has_a_test(_: &Variant) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut untested = Vec::new();
    for (source, tests) in SURFACE {
        let tests = tests.iter().map(|test| here.join(format!("tests/behaviours/{test}.rs")));
        let tests: String = tests.map(|test| text(&test)).collect();
        let words = tests.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let words: BTreeSet<&str> = words.collect();
        let source = text(&here.join("../src").join(source));
        let methods = public_functions(&source);
        assert!(!methods.is_empty(), "a source has nothing for users");
        untested.extend(methods.into_iter().filter(|it| !words.contains(it)).map(str::to_owned));
    }
    assert!(untested.is_empty(), "no test calls {untested:?}");
}

/// Inline, on the ring or on a helper thread: the table at the head of `fs` has all of them.
fn every_file_operation_says_where_it_runs(_: &Variant) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/fs");
    let head = text(&source.join("mod.rs"));
    let table: String = head.lines().filter(|line| line.starts_with("//! |")).collect();
    let words = table.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words: BTreeSet<&str> = words.collect();
    let source = text(&source);
    let waits = source.lines().filter(|line| line.contains("pub async fn "));
    let waits: String = waits.map(|line| format!("{line}\n")).collect();
    let untold: Vec<&str> =
        public_functions(&waits).into_iter().filter(|name| !words.contains(name)).collect();
    assert!(untold.is_empty(), "the table does not say where these run: {untold:?}");
}

/// What is in a file, or in all files of a folder.
fn text(path: &Path) -> String {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder of sources");
        return entries.map(|entry| text(&entry.expect("a source").path())).collect();
    }
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the functions that a source lets everybody see.
fn public_functions(text: &str) -> Vec<&str> {
    let functions = text.lines().filter_map(|line| {
        let line = line.trim_start().strip_prefix("pub ")?;
        let line = line.strip_prefix("const ").or(line.strip_prefix("async ")).unwrap_or(line);
        line.strip_prefix("fn ")
    });
    functions.filter_map(|line| line.split(['(', '<']).next()).collect()
}

/// Two behaviours of one name could not be told apart.
fn names_are_unique(_: &Variant) {
    let mut counts = BTreeMap::new();
    for behaviour in all() {
        *counts.entry(behaviour.name).or_insert(0) += 1;
    }
    let twice: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "used more than once: {twice:?}");
}
