//! Pipes, the standard input and outputs, and child processes.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringpark::io::pipe;
use ringpark::process::{ChildStdout, Command};
use ringpark::signal::SignalKind;
use ringpark::time::timeout;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "C6" => pipes_carry_bytes_and_end,
    Every: "C1" => close_and_deadlines_wake_a_pipe_reader,
    Every: "R4" => writing_to_a_pipe_that_nobody_reads_is_an_error,
    Every: "R5" => standard_streams_leave_the_shared_mode_alone,
    Every: "O1" => a_child_says_how_it_ended,
    Every: "O2" => a_child_speaks_through_pipes,
    Every: "O2" => a_program_that_is_not_there_is_not_found,
    Every: "X1" => a_dropped_wait_loses_no_status,
    Every: "O3" => a_child_can_be_killed,
    Every: "O3" => a_dropped_child_is_waited_for,
    Every: "O1" => many_children_at_once,
    Every: "O2" => a_child_gets_what_the_command_says,
    Every: "O2" => output_leaves_the_streams_that_were_set,
    Every: "X1" => a_dropped_spawn_leaves_the_command_as_it_was,
    Plain: "O1" => children_are_waited_for_where_they_have_no_descriptors,
    Plain: "O1" => one_signal_tells_of_many_children,
];

/// All bytes, then the end; with partial reads.
fn pipes_carry_bytes_and_end(variant: &Variant) {
    let size = variant.scale(2 << 20).max(100_000) as usize;
    variant.run(async {
        let (reader, writer) = pipe().expect("a pipe");
        let bytes = Pattern::small(3).bytes(0, size);
        let expected = bytes.clone();
        let writing = ringpark::spawn(async move { writer.write_all(bytes).await.0 });
        let (result, head) = reader.read_exact(Vec::with_capacity(10)).await;
        result.expect("the bytes come");
        let (result, all) = promptly("the rest", reader.read_to_end(head)).await;
        assert_eq!(result.expect("a clean end"), size - 10);
        assert!(all == expected);
        promptly("the writer", writing).await.expect("no panic").expect("it was read");
        let (result, _) = reader.read_exact(Vec::with_capacity(1)).await;
        assert_kind(result, ErrorKind::UnexpectedEof);
    });
}

/// Whoever waits for a pipe is told, of either.
fn close_and_deadlines_wake_a_pipe_reader(variant: &Variant) {
    variant.run(async {
        let (reader, writer) = pipe().expect("a pipe");
        reader.set_read_deadline(Some(Instant::now() + ms(10)));
        assert_timed_out(promptly("a read", reader.read(Vec::with_capacity(8))).await.0);
        reader.set_read_deadline(None);
        let reader = std::rc::Rc::new(reader);
        let mut read = pin!(reader.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        let other = reader.clone();
        let closing = ringpark::spawn(async move { other.close().await });
        assert_closed(promptly("the read", read).await.0);
        closing.await.expect("no panic").expect("the first close");
        assert_kind(writer.write("x").await.0, ErrorKind::BrokenPipe);
    });
}

/// BrokenPipe, for a write that waits too.
fn writing_to_a_pipe_that_nobody_reads_is_an_error(variant: &Variant) {
    variant.run(async {
        let (reader, writer) = pipe().expect("a pipe");
        let mut write = pin!(writer.write_all(vec![7; 1 << 20]));
        start(write.as_mut()).await;
        drop(reader);
        assert_kind(promptly("the write", write).await.0, ErrorKind::BrokenPipe);
    });
}

/// Puts another descriptor in the place of a standard one, until it is dropped.
struct InPlace {
    number: i32,
    before: OwnedFd,
}

impl InPlace {
    fn of(number: i32, other: &OwnedFd) -> InPlace {
        // SAFETY: the number is open in every trial.
        let shared = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let before = shared.try_clone_to_owned().expect("room for a descriptor");
        // SAFETY: dup2 takes no pointer; both numbers are open.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        InPlace { number, before }
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // SAFETY: as before.
        assert_eq!(unsafe { libc::dup2(self.before.as_raw_fd(), self.number) }, self.number);
    }
}

fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: F_GETFL takes no pointer.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Whoever shares the standard input with us finds it as it was, also while we wait.
fn standard_streams_leave_the_shared_mode_alone(variant: &Variant) {
    variant.run(async {
        let (shared, feed) = sys::pipe();
        let mut feed = std::fs::File::from(feed);
        let place = InPlace::of(0, &shared);
        let stdin = ringpark::io::stdin().expect("there is one");
        {
            let mut read = pin!(stdin.read(Vec::with_capacity(8)));
            start(read.as_mut()).await;
            ringpark::time::sleep(ms(3)).await;
            start(read.as_mut()).await;
            assert!(!is_nonblocking(&shared));
            feed.write_all(b"typed").expect("there is room");
            let (result, bytes) = promptly("the read", read).await;
            assert!(result.expect("bytes") > 0 && b"typed".starts_with(&bytes));
        }
        stdin.close().await.expect("the first close");
        assert!(!is_nonblocking(&shared));
        drop(place);

        let (out, sink) = sys::pipe();
        let mut out = std::fs::File::from(out);
        let place = InPlace::of(2, &sink);
        let stderr = ringpark::io::stderr().expect("there is one");
        stderr.write_all("complaint").await.0.expect("it is read");
        assert!(!is_nonblocking(&sink));
        drop((stderr, place, sink));
        variant::drained().await;
        let mut all = String::new();
        out.read_to_string(&mut all).expect("a clean end");
        assert_eq!(all, "complaint");
        ringpark::io::stdout().expect("there is one").write_all("\n").await.0.expect("read");
    });
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).stdin(Stdio::null());
    command
}

/// Exit codes, and signals; as often as one asks.
fn a_child_says_how_it_ended(variant: &Variant) {
    variant.run(async {
        for code in [0, 3, 255] {
            let status = promptly("a child", shell(&format!("exit {code}")).status()).await;
            assert_eq!(status.expect("it runs").code(), Some(code));
        }
        let mut child = shell("kill -TERM $$").spawn().await.expect("it runs");
        assert!(child.id() > 1);
        for _ in 0..3 {
            let status = promptly("a child", child.wait()).await.expect("it ends");
            assert_eq!((status.signal(), status.code()), (Some(libc::SIGTERM), None));
            assert_eq!(child.try_wait().expect("it has ended"), Some(status));
        }
        let mut child = shell("sleep 0.05; exit 4").spawn().await.expect("it runs");
        assert_eq!(child.try_wait().expect("it runs"), None);
        let status = promptly("a child", child.wait()).await.expect("it ends");
        assert_eq!(status.code(), Some(4));
    });
}

/// More both ways than the pipes hold, at the same time.
fn a_child_speaks_through_pipes(variant: &Variant) {
    let size = variant.scale(4 << 20).max(200_000) as usize;
    variant.run(async {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().await.expect("it runs");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = (stdin.expect("a pipe"), stdout.expect("a pipe"));
        let bytes = Pattern::small(4).bytes(0, size);
        let expected = bytes.clone();
        let writing = ringpark::spawn(async move { stdin.write_all(bytes).await.0 });
        let (result, all) = promptly("the echo", stdout.read_to_end(Vec::new())).await;
        result.expect("a clean end");
        assert!(all == expected);
        promptly("the writer", writing).await.expect("no panic").expect("it was read");
        assert!(promptly("the child", child.wait()).await.expect("it ends").success());

        let output = promptly("output", shell("echo out; echo err >&2; exit 1").output()).await;
        let output = output.expect("it runs");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(1));

        // It is told that its input is at its end, and what it said before the call is kept.
        let mut command = shell("echo first; echo no >&2; cat; echo last");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().await.expect("it runs");
        let (result, _) = child.stdin.as_ref().expect("a pipe").write_all("word\n").await;
        result.expect("it reads");
        let output = promptly("the end", child.wait_with_output()).await.expect("it ends");
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"first\nword\nlast\n"[..], &b"no\n"[..])
        );
        assert!(output.status.success());

        // One that waits for the end of its input ends when one waits for it.
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).spawn().await.expect("it runs");
        assert!(promptly("the child", child.wait()).await.expect("it ends").success());
    });
}

/// No such program: NotFound, and the command can be changed and tried again.
fn a_program_that_is_not_there_is_not_found(variant: &Variant) {
    variant.run(async {
        let mut command = Command::new("/nowhere/ringpark-has-no-such-program");
        assert_kind(command.spawn().await, ErrorKind::NotFound);
        assert_kind(command.output().await, ErrorKind::NotFound);
    });
}

/// Waits that are dropped at random moments around the end.
fn a_dropped_wait_loses_no_status(variant: &Variant) {
    let rounds = variant.scale(100).max(10);
    variant.run(async {
        let mut rng = variant.rng();
        for round in 0..rounds {
            let code = round as i32 % 200;
            let mut child = shell(&format!("exit {code}")).spawn().await.expect("it runs");
            for _ in 0..rng.u32(0..4) {
                let at_most = Duration::from_micros(rng.u64(0..1500));
                // Given up, or answered: both are good.
                drop(timeout(at_most, child.wait()).await);
            }
            let status = promptly("a child", child.wait()).await.expect("it ends");
            assert_eq!(status.code(), Some(code));
        }
    });
}

/// Kill, of one that runs and one that has ended; and on drop.
fn a_child_can_be_killed(variant: &Variant) {
    variant.run(async {
        let mut child = shell("exec sleep 1000").spawn().await.expect("it runs");
        promptly("kill", child.kill()).await.expect("it runs");
        let status = child.wait().await.expect("it has ended");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        child.start_kill().expect("that is no error");

        let mut command = shell("exec sleep 1000");
        let child = command.kill_on_drop(true).stdout(Stdio::piped()).spawn().await;
        let mut child = child.expect("it runs");
        let out: ChildStdout = child.stdout.take().expect("a pipe");
        drop(child);
        let (result, _) = promptly("its output", out.read_to_end(Vec::new())).await;
        assert_eq!(result.expect("it is dead"), 0);
    });
}

/// A child that was dropped leaves no zombie.
fn a_dropped_child_is_waited_for(variant: &Variant) {
    variant.run(async {
        let child = shell("sleep 0.02").spawn().await.expect("it runs");
        let pid = child.id() as libc::pid_t;
        drop(child);
        // SAFETY: signal 0 only asks whether the process is there; a zombie is.
        until("it is gone", || unsafe { libc::kill(pid, 0) } == -1).await;
    });
}

/// Many at a time, each with its own status.
fn many_children_at_once(variant: &Variant) {
    let count = variant.scale(60).max(12) as i32;
    variant.run(async {
        let children: Vec<_> = (0..count)
            .map(|code| {
                ringpark::spawn(async move {
                    let status = shell(&format!("exit {code}")).status().await;
                    assert_eq!(status.expect("it runs").code(), Some(code));
                })
            })
            .collect();
        for child in children {
            promptly("a child", child).await.expect("its own status");
        }
    });
}

/// Arguments, environment, folder, and what std alone can set.
fn a_child_gets_what_the_command_says(variant: &Variant) {
    variant.run(async {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $0 $1 $RINGPARK_A ${RINGPARK_B-none} $PWD", "zero", "one"])
            .env("RINGPARK_A", "a")
            .env("RINGPARK_B", "b")
            .env_remove("RINGPARK_B")
            .current_dir("/");
        let output = promptly("a child", command.output()).await.expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "zero one a none /\n");
        let mut command = Command::new("/bin/sh");
        command.env_clear().args(["-c", "set | grep -c HOME"]);
        let output = promptly("a child", command.output()).await.expect("it runs");
        assert_eq!(output.stdout, b"0\n");
        std::os::unix::process::CommandExt::arg0(shell("").as_std_mut(), "name");
    });
}

/// What a command reads from, and writes to, stays what it was set to; what was not set is collected
/// by `output` alone.
fn output_leaves_the_streams_that_were_set(variant: &Variant) {
    variant.run(async {
        let place = Place::new();
        std::fs::write(place.path("in"), "from a file").expect("there is room");
        let open = || std::fs::File::open(place.path("in")).expect("it is there");
        let mut command = Command::new("cat");
        let output = promptly("a child", command.stdin(open()).output()).await.expect("it runs");
        assert_eq!(output.stdout, b"from a file");

        let into = std::fs::File::create(place.path("out")).expect("there is room");
        let mut command = shell("cat; echo seen >&2");
        let output = command.stdin(open()).stdout(into).output();
        let output = promptly("a child", output).await.expect("it runs");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b""[..], &b"seen\n"[..]));
        let written = std::fs::read(place.path("out")).expect("it is there");
        assert_eq!(written, b"from a file");

        let mut command = Command::new("cat");
        let output = promptly("a child", command.output()).await.expect("it runs");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        let mut child = command.spawn().await.expect("it runs");
        assert!(child.stdout.is_none() && child.stderr.is_none(), "{child:?}");
        child.start_kill().expect("it is there");
        child.wait().await.expect("its status");
    });
}

/// Whether or not a helper thread has begun to start it.
fn a_dropped_spawn_leaves_the_command_as_it_was(variant: &Variant) {
    variant.run_on(variant.builder().max_blocking_threads(1), async {
        let place = Place::new();
        let mut command = shell("echo x >> started; exit 7");
        command.current_dir(place.folder());
        let (started, starts) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let busy = ringpark::spawn_blocking(move || {
            started.send(()).expect("the test waits");
            gate.recv().expect("the test opens the gate");
        });
        until("the only helper thread is busy", || starts.try_recv().is_ok()).await;
        assert!(timeout(ms(0), command.spawn()).await.is_err(), "nobody can have started it");
        command.env("RINGPARK_A", "a");
        go.send(()).expect("the work waits");
        busy.await.expect("it ends well");
        let status = promptly("a child", command.status()).await.expect("it runs");
        assert_eq!(status.code(), Some(7));
        let lines = std::fs::read(place.path("started")).expect("it is there");
        assert_eq!(lines, b"x\n", "it was started though it had been taken back");

        for _ in 0..20 {
            let _or_started = timeout(ms(0), command.spawn()).await;
            let status = promptly("a child", command.status()).await.expect("it runs");
            assert_eq!(status.code(), Some(7));
        }
    });
}

/// Linux before 5.3, and filters that do not know pidfd_open: SIGCHLD tells of the end.
fn children_are_waited_for_where_they_have_no_descriptors(variant: &Variant) {
    for errno in [libc::ENOSYS, libc::EPERM] {
        sys::refuse_pidfds(errno);
        a_child_says_how_it_ended(variant);
        a_child_speaks_through_pipes(variant);
        a_dropped_wait_loses_no_status(variant);
        a_child_can_be_killed(variant);
        a_dropped_child_is_waited_for(variant);
        many_children_at_once(variant);
    }
}

/// Without descriptors, children that end at the same moment, while others run on, and a program that
/// catches the signal itself.
fn one_signal_tells_of_many_children(variant: &Variant) {
    sys::refuse_pidfds(libc::ENOSYS);
    variant.run(async {
        let mut told = ringpark::signal::signal(SignalKind::child()).expect("it can be caught");
        let (gate, waits) = sys::pipe();
        let mut children = Vec::new();
        for code in 0..12 {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("read -r line; exit {code}"));
            command.stdin(gate.try_clone().expect("room for a descriptor"));
            let mut child = command.spawn().await.expect("it runs");
            children.push(ringpark::spawn(async move {
                let status = child.wait().await.expect("it ends");
                assert_eq!(status.code(), Some(code));
            }));
        }
        let mut slow = shell("exec sleep 1000").spawn().await.expect("it runs");
        // The end of their input is the end of all.
        drop((gate, waits));
        for child in children {
            promptly("a child", child).await.expect("its own status");
        }
        promptly("the signal", told.recv()).await;
        assert_eq!(slow.try_wait().expect("it runs on"), None);
        promptly("the last", slow.kill()).await.expect("it runs");
    });
}
