//! The command line of ringpark. Each subcommand has a file of its own and returns either nothing
//! or one [`Failure`]; what a user sees of it, and the exit code, is decided here.
//!
//! Exit codes: 0 the work was done, 1 the machine refused something, 2 the command line or the
//! environment makes no sense, 3 the machine lacks what was required of it.

#![forbid(unsafe_code)]

mod args;
mod failure;
mod limits;
mod listen;
mod metrics;
mod open;
mod page;
mod peer;
mod probe;
mod proxy;
mod repeat;
mod service;
mod signals;
mod totals;
mod upstreams;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use failure::Failure;

/// Programs built on the ringpark runtime.
#[derive(Debug, Parser)]
#[command(name = "ringpark", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Proxy(proxy::Args),
    Probe(probe::Args),
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let said = writeln!(io::stderr(), "ringpark: {failure}");
            // Nobody reads stderr: the exit code still tells.
            drop(said);
            failure.exit_code()
        }
    }
}

fn start() -> Result<(), Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return explain(&err),
    };
    match cli.command {
        Command::Proxy(args) => {
            log_to_stderr()?;
            proxy::run(args)
        }
        Command::Probe(args) => probe::run(&args),
    }
}

/// Logs to stderr what RUST_LOG lets through, by default INFO and above.
fn log_to_stderr() -> Result<(), Failure> {
    let filter = match env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|err| {
            Failure::Usage(format!(
                "RUST_LOG={text} cannot be understood ({err}); write a level such as debug"
            ))
        })?,
        _ => EnvFilter::new("info"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // Otherwise a stderr that was closed would make logging itself panic.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

/// What the parser has to say: help and version are printed, a mistake becomes one sentence.
fn explain(err: &clap::Error) -> Result<(), Failure> {
    match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(err.print()?),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::Usage("name a subcommand; `ringpark --help` lists them".into()))
        }
        _ => Err(Failure::Usage(sentence(&err.render().to_string()))),
    }
}

/// The parser's message without its ornaments: the first paragraph on one line, and where to look.
fn sentence(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    format!("{text}; see `ringpark --help` and `ringpark COMMAND --help`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_one_line() {
        for line in [
            &["ringpark", "proxy"][..],
            &["ringpark", "proxy", "--listen", "x", "--to", "127.0.0.1:1"],
            &["ringpark", "proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--threads=0"],
            &["ringpark", "proxxy"],
            &["ringpark"],
        ] {
            let err = Cli::try_parse_from(line).unwrap_err();
            let failure = explain(&err).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{line:?}");
            assert!(!failure.to_string().contains('\n'), "{failure}");
        }
    }

    #[test]
    fn the_sentence_names_the_argument_and_the_reason() {
        let line = ["ringpark", "proxy", "--listen", "nowhere", "--to", "127.0.0.1:1"];
        let failure = explain(&Cli::try_parse_from(line).unwrap_err()).unwrap_err().to_string();
        assert!(failure.contains("'nowhere' for '--listen <ADDR>'"), "{failure}");
        assert!(failure.contains("there is no port in it"), "{failure}");
    }
}
