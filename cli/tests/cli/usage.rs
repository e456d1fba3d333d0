//! What is wrong before the proxy runs: one sentence on stderr and the exit code that fits.

use std::net::TcpListener;
use std::process::Command;

use crate::proxy::ringpark;

/// Runs to the end; the exit code and the one line on stderr.
fn refusal(mut command: Command) -> (i32, String) {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert!(output.stdout.is_empty(), "stdout is not for errors: {:?}", output.stdout);
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.starts_with("ringpark: "), "{said}");
    (output.status.code().expect("an exit code"), said)
}

fn proxy(args: &[&str]) -> Command {
    let mut command = ringpark();
    command.arg("proxy").args(args);
    command
}

#[test]
fn mistakes_on_the_command_line_exit_with_2() {
    const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];
    const TO: [&str; 2] = ["--to", "127.0.0.1:9"];
    let cases: &[(&[&str], &str)] = &[
        (&[], "--to <ADDR>"),
        (&TO, "give --listen"),
        (&LISTEN, "--to <ADDR>"),
        (&["--listen", "nowhere", TO[0], TO[1]], "there is no port in it"),
        (&["--listen", "127.0.0.1:99999", TO[0], TO[1]], "0 to 65535"),
        (&[LISTEN[0], LISTEN[1], "--to", "127.0.0.256:80"], "HOST:PORT"),
        (
            &[LISTEN[0], LISTEN[1], TO[0], TO[1], "--backend", "devpoll"],
            "auto, or one of uring, epoll",
        ),
        (&[LISTEN[0], LISTEN[1], TO[0], TO[1], "--threads", "0"], "1..=1024"),
        (&[LISTEN[0], LISTEN[1], TO[0], TO[1], "--idle-timeout", "5"], "500ms, 60s or 5m"),
        (&[LISTEN[0], LISTEN[1], TO[0], TO[1], "--frobnicate"], "'--frobnicate'"),
    ];
    for (args, says) in cases {
        let (code, said) = refusal(proxy(args));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn no_subcommand_is_a_mistake_too() {
    let (code, said) = refusal(ringpark());
    assert_eq!(code, 2);
    assert!(said.contains("ringpark --help"), "{said}");
}

#[test]
fn forwarding_to_itself_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, said) = refusal(proxy(&["--listen", &free, "--to", &free]));
    assert_eq!(code, 2);
    assert!(said.contains("forward to itself"), "{said}");
}

#[test]
fn a_log_filter_that_makes_no_sense_is_refused() {
    let mut command = proxy(&["--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"]);
    let (code, said) = refusal({
        command.env("RUST_LOG", "ringpark=loudly");
        command
    });
    assert_eq!(code, 2);
    assert!(said.contains("RUST_LOG=ringpark=loudly"), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_what_would_help() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, said) = refusal(proxy(&["--listen", &addr, "--to", "127.0.0.1:9"]));
    assert_eq!(code, 1);
    assert_eq!(
        said,
        format!(
            "ringpark: cannot listen on {addr}: address already in use; choose another port or \
             stop the program that has it\n"
        )
    );
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // 192.0.2.0/24 is kept for documentation: no machine has it.
    let (code, said) = refusal(proxy(&["--listen", "192.0.2.1:0", "--to", "127.0.0.1:9"]));
    assert_eq!(code, 1);
    assert!(said.contains("this machine has no such address"), "{said}");
}

#[test]
fn a_descriptor_limit_too_low_for_one_connection_is_refused() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 20 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringpark")]);
    command.args(["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9", "--threads", "1"]);
    let (code, said) = refusal(command);
    assert_eq!(code, 1);
    assert!(said.contains("the descriptor limit of 20 is too low"), "{said}");
}

#[test]
fn help_and_version_go_to_stdout() {
    for (args, says) in [
        (&["--help"][..], "proxy"),
        (&["proxy", "--help"], "--idle-timeout"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = ringpark().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(says), "{said}");
    }
}
