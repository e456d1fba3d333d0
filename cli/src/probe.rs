//! `ringpark probe`: what this kernel can really do for ringpark, and if io_uring is not in use, why
//! not. The library makes the report; here it is printed, compared, and judged for scripts.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use ringpark::probe::{self, Report, Requirement, SCHEMA};

use crate::failure::Failure;
use crate::page;

/// What `--seccomp-profile` prints: whatever is not in it answers ENOSYS, so that programs fall back
/// as they do on an old kernel.
const SECCOMP_PROFILE: &str = include_str!("../seccomp.json");

/// Say what this kernel can really do for ringpark, and if io_uring is not in use, why not.
///
/// Everything is tried, nothing is guessed from a version. It takes some tens of milliseconds, needs
/// no privileges, and leaves nothing behind.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON instead of a page; its form is that of --schema
    #[arg(long, conflicts_with_all = ["schema", "seccomp_profile", "diff"])]
    json: bool,

    /// Print the JSON Schema of --json
    #[arg(long, conflicts_with_all = ["seccomp_profile", "diff", "costs", "require", "route"])]
    schema: bool,

    /// Measure what things cost here as well; takes a quarter of a second
    #[arg(long)]
    costs: bool,

    /// Print nothing, and exit with 3 unless the machine has it: uring, or the name of anything on
    /// the page, such as multishot-recv or setup:no-sqarray. May be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    require: Vec<Requirement>,

    /// Print a seccomp profile for Docker and Kubernetes under which ringpark runs on io_uring
    #[arg(long, conflicts_with_all = ["diff", "costs", "require", "route"])]
    seccomp_profile: bool,

    /// Print what is different from an earlier --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["require"])]
    diff: Option<PathBuf>,

    /// Send a UDP datagram (1200 bytes of zeros) there, to say whether a zero-copy send on that way
    /// is copied. May be repeated
    #[arg(long, value_name = "HOST:PORT")]
    route: Vec<String>,
}

/// Runs the subcommand to its end.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.schema {
        return print(probe::JSON_SCHEMA);
    }
    if args.seccomp_profile {
        return print(SECCOMP_PROFILE);
    }
    let before = args.diff.as_deref().map(read).transpose()?;
    let routes = addresses(&args.route)?;
    let mut report = probe::report_with_routes(&routes);
    if args.costs {
        report.costs = probe::costs();
    }
    if args.json {
        print(&json(&report)?)?;
    } else if let Some(before) = before {
        print(&changes(&before, &report))?;
    } else if args.require.is_empty() {
        print(&page::of(&report))?;
    }
    judge(&args.require, &report)
}

/// Prints it, without its colours where nobody wants to see them.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever read the page has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn json(report: &Report) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report);
    let text = text.map_err(|error| Failure::Refused(format!("the report as JSON: {error}")))?;
    Ok(text + "\n")
}

/// Reads an earlier report.
fn read(path: &Path) -> Result<Report, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Refused(format!("cannot read {shown}: {error}")))?;
    let nonsense = |error: serde_json::Error| {
        Failure::Usage(format!("{shown} is no report of `ringpark probe --json`: {error}"))
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(nonsense)?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema != u64::from(SCHEMA) => Err(Failure::Usage(format!(
            "{shown} has the form {schema} of the report, and this program compares form {SCHEMA}; \
             compare with a program of the same version"
        ))),
        _ => serde_json::from_value(value).map_err(nonsense),
    }
}

fn addresses(routes: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let one = |route: &String| {
        let found = route.to_socket_addrs().map(|mut addresses| addresses.next());
        match found {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(Failure::Refused(format!("--route {route}: the name has no address"))),
            Err(error) => Err(Failure::Refused(format!("--route {route}: {error}"))),
        }
    };
    routes.iter().map(one).collect()
}

/// The differences, a paragraph each; one line if there are none.
fn changes(before: &Report, after: &Report) -> String {
    let changes = probe::diff(before, after);
    if changes.is_empty() {
        return "nothing has changed\n".to_owned();
    }
    let shown = |value: Option<String>| value.unwrap_or_else(|| "(not there)".to_owned());
    let one = |change: probe::Change| {
        format!("{}\n  - {}\n  + {}\n", change.what, shown(change.before), shown(change.after))
    };
    changes.into_iter().map(one).collect()
}

/// Whether all that is required is there.
fn judge(required: &[Requirement], report: &Report) -> Result<(), Failure> {
    let mut lacking = Vec::new();
    for requirement in required {
        let judged = requirement.check(report);
        let judged =
            judged.map_err(|error| Failure::Usage(format!("--require {requirement}: {error}")))?;
        if let Err(why) = judged {
            lacking.push(format!("{requirement} is required and missing: {why}"));
        }
    }
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(Failure::Lacking(lacking.join("; "))),
    }
}
