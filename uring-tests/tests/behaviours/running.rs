//! Running where it must: whatever the machine refuses, ringpark runs, and says what and why.

use ringpark::runtime::Feature;
use ringpark::{Backend, Builder};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Once: "Y1" => io_uring_refused_with_eperm_runs_on_epoll_and_says_why,
    Once: "Y1" => io_uring_refused_with_enosys_runs_on_epoll_and_says_why,
    Once: "Y1" => io_uring_refused_with_eacces_runs_on_epoll_and_says_why,
    Once: "Y1"|"Y5" => a_forced_io_uring_that_is_refused_is_a_clear_error,
    PlainUring: "Y2" => too_little_locked_memory_runs_on_epoll_and_names_the_limit,
    OwnUser: "Y2" => little_locked_memory_makes_the_rings_smaller,
    Uring: "Y3" => a_ring_runs_without_any_one_feature_and_says_so,
    PlainUring: "Y3" => a_ring_runs_without_all_optional_features,
    PlainUring: "Y4" => each_forbidden_opcode_falls_back_alone,
    PlainUring: "Y4" => all_opcodes_forbidden_at_once_still_work,
    Plain: "Y5" => the_environment_forces_a_backend,
    Plain: "Y5" => the_environment_wins_over_the_builder,
    Once: "Y5" => an_unknown_backend_in_the_environment_is_a_clear_error,
    PlainUring: "Y5" => the_environment_switches_features_off,
    Once: "Y8" => names_of_backends_and_features_are_read_back,
    Every: "Y8" => the_log_names_the_backend_once_per_core,
];

/// Accepts, connects, writes, reads in every way and closes.
async fn exercise() {
    let (listener, address) = listener().await;
    for _ in 0..3 {
        let connect = ringpark::net::TcpStream::connect(address);
        let (stream, accepted) = futures_util::future::join(connect, listener.accept()).await;
        let stream = stream.expect("the listener listens");
        let (other, peer) = accepted.expect("one comes");
        assert_eq!(peer, stream.local_addr().expect("it is connected"));
        promptly("readiness", stream.writable()).await.expect("there is room");
        send(&stream, b"ping").await;
        assert_eq!(promptly("a read", receive(&other, 4)).await, b"ping");
        other.write_vectored_all(vec!["po", "ng"]).await.0.expect("it reads");
        let mut got = Vec::new();
        while got.len() < 4 {
            let lease = promptly("a recv", stream.recv()).await.expect("bytes come");
            got.extend_from_slice(&lease.expect("not the end"));
        }
        assert_eq!(got, b"pong");
        other.shutdown(std::net::Shutdown::Write).await.expect("it is connected");
        assert!(promptly("the end", stream.recv()).await.expect("a clean end").is_none());
        stream.close().await.expect("the first close");
        assert_eq!(other.read(vec![0; 8]).await.0.expect("a clean end"), 0);

        let (reader, writer) = pipe();
        let reader = ringpark::io::Descriptor::new(reader).expect("a pipe can join");
        let writer = ringpark::io::Descriptor::new(writer).expect("a pipe can join");
        writer.write_all("through a pipe").await.0.expect("it reads");
        let mut got = Vec::new();
        while got.len() < 14 {
            let (result, bytes) = promptly("a read", reader.read(Vec::with_capacity(64))).await;
            assert!(result.expect("bytes") > 0, "the end came early");
            got.extend_from_slice(&bytes);
        }
        assert_eq!(got, b"through a pipe");

        let idle = std::pin::pin!(listener.accept());
        assert!(ringpark::time::timeout(ms(2), idle).await.is_err(), "nobody connects");
    }
    listener.close().await.expect("the first close");
}

/// Starts with the automatic choice; says which backend that was.
pub fn automatic(builder: Builder) -> Backend {
    let ended = builder.block_on(async {
        exercise().await;
        ringpark::runtime::metrics().backend
    });
    ended.expect("something always works")
}

/// The one line of the log that says what was chosen.
pub fn line_of_choice() -> String {
    let lines = log::lines_with("backend=");
    assert_eq!(lines.len(), 1, "one line says it all:\n{}", log::text());
    lines[0].clone()
}

fn refused(errno: i32, words: &[&str]) {
    sys::refuse_io_uring(errno);
    assert_eq!(automatic(Builder::new()), Backend::Epoll);
    let line = line_of_choice();
    assert!(line.contains("backend=epoll"), "{line}");
    let lower = line.to_lowercase();
    assert!(words.iter().any(|word| lower.contains(word)), "none of {words:?} in: {line}");
}

/// EPERM, as from a container's filter.
fn io_uring_refused_with_eperm_runs_on_epoll_and_says_why(_: &Variant) {
    refused(libc::EPERM, &["seccomp"]);
}

/// ENOSYS, as from an old kernel or a filter that plays one.
fn io_uring_refused_with_enosys_runs_on_epoll_and_says_why(_: &Variant) {
    refused(libc::ENOSYS, &["seccomp", "kernel"]);
}

/// EACCES, as from a security module.
fn io_uring_refused_with_eacces_runs_on_epoll_and_says_why(_: &Variant) {
    refused(libc::EACCES, &["seccomp", "security", "selinux"]);
}

/// Forced and refused: an error that names the cause, and no fallback.
fn a_forced_io_uring_that_is_refused_is_a_clear_error(_: &Variant) {
    sys::refuse_io_uring(libc::EPERM);
    let forced = Builder::new().backend(Backend::Uring).block_on(async {});
    let error = forced.expect_err("it is refused");
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error:?}");
    let said = error.to_string().to_lowercase();
    assert!(said.contains("uring") && said.contains("seccomp"), "{error}");
    std::env::set_var("RINGPARK_BACKEND", "uring");
    let said = Builder::new().block_on(async {}).expect_err("it is refused").to_string();
    assert!(said.to_lowercase().contains("seccomp"), "{said}");
    let panic = std::panic::catch_unwind(|| ringpark::block_on(async {})).expect_err("no backend");
    drop(panic);
    // Where many cores start, it is the same error.
    let error = Builder::new().cores(2).run(|| async { Ok(()) }).expect_err("it is refused");
    assert!(error.to_string().to_lowercase().contains("seccomp"), "{error}");
}

/// No memory may be locked: epoll, and the line names the limit and the bytes needed.
fn too_little_locked_memory_runs_on_epoll_and_names_the_limit(_: &Variant) {
    sys::set_locked_memory_limit(4096);
    sys::give_up_privileges();
    assert_eq!(automatic(Builder::new()), Backend::Epoll);
    let line = line_of_choice();
    assert!(line.contains("backend=epoll"), "{line}");
    assert!(line.to_lowercase().contains("memlock"), "{line}");
    assert!(line.contains("4096 bytes"), "the limit: {line}");
    let needed = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
    assert!(needed.into_iter().any(|bytes| bytes > 50_000), "the bytes needed: {line}");

    let forced = Builder::new().backend(Backend::Uring).block_on(async {});
    let error = forced.expect_err("there is no memory for it");
    assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory, "{error:?}");
    assert!(error.to_string().to_lowercase().contains("memlock"), "{error}");
}

/// With room for a small ring only, a small ring it is, and the line says so.
fn little_locked_memory_makes_the_rings_smaller(_: &Variant) {
    sys::set_locked_memory_limit(80 << 10);
    sys::become_nobody();
    assert_eq!(automatic(Builder::new()), Backend::Uring);
    let line = line_of_choice();
    assert!(line.contains("backend=uring"), "{line}");
    assert!(line.to_lowercase().contains("memlock"), "{line}");
    assert!(!line.contains("256/4096"), "smaller rings: {line}");
}

/// The features in that line.
pub fn flags(line: &str) -> String {
    let (_, rest) = line.split_once("flags=").expect("the line names the flags");
    rest.trim_start_matches('"').split([' ', '"']).next().expect("something").to_owned()
}

/// The flags in the log are named like the features, in one case or the other.
fn names(flags: &str, feature: Feature) -> bool {
    let wanted = feature.to_string();
    flags.split('|').any(|flag| flag.to_lowercase().replace('_', "-") == wanted)
}

/// Without any one feature a ring runs, and the line does not name it as in use.
fn a_ring_runs_without_any_one_feature_and_says_so(variant: &Variant) {
    variant.run(exercise());
    let flags = flags(&line_of_choice());
    for &feature in Feature::ALL {
        if variant.lacks(feature) {
            assert!(!names(&flags, feature), "{feature} is off, and not in {flags}");
        } else if feature == Feature::RegisteredRing {
            assert!(names(&flags, feature), "{feature} is on, and missing in {flags}");
        }
    }
}

/// Without all of them.
fn a_ring_runs_without_all_optional_features(variant: &Variant) {
    let mut builder = variant.builder();
    for &feature in Feature::ALL {
        builder = builder.without(feature);
    }
    variant.run_on(builder, exercise());
    let flags = flags(&line_of_choice());
    assert!(Feature::ALL.iter().all(|&feature| !names(&flags, feature)), "{flags}");
}

/// The operations that a ring may be forbidden.
const OPS: &[&str] = &[
    "accept",
    "accept-multishot",
    "close",
    "connect",
    "recv",
    "recv-multishot",
    "send",
    "sendmsg",
    "send-zc",
    "shutdown",
    "socket",
    "write",
];

/// An opcode that is forbidden falls back to poll and attempt; everything else stays.
fn each_forbidden_opcode_falls_back_alone(variant: &Variant) {
    for op in OPS {
        variant.run_on(variant.builder().forbid(&[op]), exercise());
        let lines = log::lines_with("backend=uring");
        let last = lines.last().expect("it runs on a ring");
        assert!(last.contains(op) || *op == "shutdown", "{op} is missing, says the line: {last}");
    }
}

/// All of them at once: a ring that can only poll.
fn all_opcodes_forbidden_at_once_still_work(variant: &Variant) {
    variant.run_on(variant.builder().forbid(OPS), async {
        exercise().await;
        assert_eq!(ringpark::runtime::metrics().backend, Backend::Uring);
    });
}

/// The environment forces a backend, and the line says that it did.
fn the_environment_forces_a_backend(variant: &Variant) {
    std::env::set_var("RINGPARK_BACKEND", variant.backend().to_string());
    assert_eq!(automatic(Builder::new()), variant.backend());
    let line = line_of_choice();
    assert!(line.contains("RINGPARK_BACKEND"), "{line}");
    let on_this_thread = ringpark::block_on(async { ringpark::runtime::metrics().backend });
    assert_eq!(on_this_thread, variant.backend());
}

/// It wins over the builder.
fn the_environment_wins_over_the_builder(variant: &Variant) {
    std::env::set_var("RINGPARK_BACKEND", variant.backend().to_string());
    for &other in Backend::SUPPORTED {
        let ended =
            Builder::new().backend(other).block_on(async { ringpark::runtime::metrics().backend });
        assert_eq!(ended.expect("it works here"), variant.backend());
    }
}

/// What is no backend is an error that says which there are.
fn an_unknown_backend_in_the_environment_is_a_clear_error(_: &Variant) {
    std::env::set_var("RINGPARK_BACKEND", "io-uring");
    let error = Builder::new().block_on(async {}).expect_err("there is none of that name");
    let said = error.to_string();
    for word in ["RINGPARK_BACKEND", "io-uring", "uring", "epoll", "poll"] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    std::env::set_var("RINGPARK_BACKEND", "auto");
    std::env::set_var("RINGPARK_WITHOUT", "multishot-recv,nothing-known");
    let said = Builder::new().block_on(async {}).expect_err("there is no such feature").to_string();
    assert!(said.contains("RINGPARK_WITHOUT") && said.contains("nothing-known"), "{said}");
}

/// The environment switches features off.
fn the_environment_switches_features_off(variant: &Variant) {
    std::env::set_var("RINGPARK_WITHOUT", "multishot-recv,no-sqarray");
    variant.run(exercise());
    let flags = flags(&line_of_choice());
    for feature in [Feature::MultishotRecv, Feature::NoSqArray] {
        assert!(!names(&flags, feature), "{feature} is off, and not in {flags}");
    }
}

/// Names are shown and read back.
fn names_of_backends_and_features_are_read_back(_: &Variant) {
    for &backend in Backend::SUPPORTED {
        assert_eq!(backend.to_string().parse::<Backend>().ok(), Some(backend));
    }
    assert!(!Feature::ALL.is_empty());
    for &feature in Feature::ALL {
        assert_eq!(feature.to_string().parse::<Feature>().ok(), Some(feature));
    }
    assert!("kqueue9".parse::<Backend>().is_err() && "".parse::<Feature>().is_err());
}

/// One line at the start of each core names its backend.
fn the_log_names_the_backend_once_per_core(variant: &Variant) {
    variant.run(exercise());
    let line = line_of_choice();
    assert!(line.contains("INFO") && line.contains("ringpark"), "{line}");
    assert!(line.contains(&format!("backend={}", variant.backend())), "{line}");
    variant
        .builder()
        .cores(2)
        .run(|| async {
            exercise().await;
            Ok(())
        })
        .expect("both run");
    assert_eq!(log::lines_with("backend=").len(), 3, "{}", log::text());
}
