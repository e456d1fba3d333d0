//! Servers that are not Rust's: Go, HAProxy and nginx, when they are installed.
//!
//! Each listens on the port it is given. Configurations and the built Go program lie in the
//! harness's own temporary directory.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{unfit, Contestant, Order};
use crate::workload::{Service, Shape};

/// What the Go contestant is built from.
const GO_SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/server.go");
/// Where distributions put nginx's stream module, unless it is built in.
const NGINX_MODULES: &[&str] = &[
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "/usr/lib64/nginx/modules/ngx_stream_module.so",
    "/usr/share/nginx/modules/ngx_stream_module.so",
];

/// Go's net package on one thread that runs Go code.
pub(super) struct Go;

impl Contestant for Go {
    fn name(&self) -> &'static str {
        "go"
    }

    fn about(&self) -> &'static str {
        "GOMAXPROCS=1; echo with 16 KiB a connection, relay by io.Copy (which splices)"
    }

    fn offers(&self, shape: Shape) -> bool {
        matches!(shape.service(), Service::Echo | Service::Relay)
    }

    fn prepare(&self, scratch: &Path) -> io::Result<()> {
        let mut build = Command::new("go");
        build.arg("build").arg("-o").arg(go_program(scratch)).arg(GO_SOURCE);
        check(build)
    }

    fn program(&self, order: &Order, port: u16, scratch: &Path) -> io::Result<Option<Command>> {
        let mut command = Command::new(go_program(scratch));
        command.env("GOMAXPROCS", "1").arg(format!("127.0.0.1:{port}"));
        match order {
            Order::Echo => {}
            Order::Relay { origin, .. } => drop(command.arg(origin.to_string())),
            _ => return Err(unfit(self.name(), order)),
        }
        Ok(Some(command))
    }
}

fn go_program(scratch: &Path) -> PathBuf {
    scratch.join("go-server")
}

/// HAProxy in TCP mode, in one thread.
pub(super) struct HaProxy {
    name: &'static str,
    about: &'static str,
    splice: bool,
}

impl HaProxy {
    pub(super) const SPLICE: Self = Self {
        name: "haproxy",
        about: "one thread, TCP mode, splice-auto; for bulk splice-request and splice-response",
        splice: true,
    };
    pub(super) const COPY: Self =
        Self { name: "haproxy-copy", about: "the same without splice: for bulk", splice: false };
}

impl Contestant for HaProxy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        match shape {
            Shape::Bulk { .. } => true,
            shape => self.splice && shape.service() == Service::Relay,
        }
    }

    fn prepare(&self, scratch: &Path) -> io::Result<()> {
        let unused = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut command = self.command(unused, false, 1, scratch)?;
        command.arg("-c");
        check(command)
    }

    fn program(&self, order: &Order, port: u16, scratch: &Path) -> io::Result<Option<Command>> {
        let Order::Relay { origin, bulk } = *order else { return Err(unfit(self.name, order)) };
        self.command(origin, bulk, port, scratch).map(Some)
    }
}

impl HaProxy {
    fn command(
        &self,
        origin: SocketAddr,
        bulk: bool,
        port: u16,
        scratch: &Path,
    ) -> io::Result<Command> {
        let splice = match (self.splice, bulk) {
            (false, _) => "",
            (true, false) => "option splice-auto",
            // Left to itself it does not find out that this is bulk.
            (true, true) => "option splice-request\n  option splice-response",
        };
        let path = scratch.join(self.name);
        // Two descriptors a connection, and two a pipe, below 20,000 in all.
        let text = format!(
            "global\n  nbthread 1\n  maxconn 6000\n  maxpipes 2000\n  tune.pipesize 1048576\n\
             defaults\n  mode tcp\n  maxconn 6000\n  {splice}\n  timeout connect 5s\n  \
             timeout client 1h\n  timeout server 1h\n\
             listen relay\n  bind 127.0.0.1:{port}\n  server origin {origin}\n"
        );
        fs::write(&path, text)?;
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(path);
        Ok(command)
    }
}

/// nginx's stream proxy, in one process.
pub(super) struct Nginx {
    name: &'static str,
    about: &'static str,
    /// `proxy_buffer_size`, a direction.
    buffer: &'static str,
    /// Whether it does anything else.
    bulk_only: bool,
}

impl Nginx {
    pub(super) const DEFAULT: Self = Self {
        name: "nginx",
        about: "one process, stream proxy with its default of 16 KiB a direction",
        buffer: "16k",
        bulk_only: false,
    };
    pub(super) const LARGE: Self = Self {
        name: "nginx-64k",
        about: "the same with 64 KiB a direction: for bulk",
        buffer: "64k",
        bulk_only: true,
    };
}

impl Contestant for Nginx {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        match shape {
            Shape::Bulk { .. } => true,
            shape => !self.bulk_only && shape.service() == Service::Relay,
        }
    }

    fn prepare(&self, scratch: &Path) -> io::Result<()> {
        let unused = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut command = self.command(unused, 1, scratch)?;
        command.arg("-t");
        check(command)
    }

    fn program(&self, order: &Order, port: u16, scratch: &Path) -> io::Result<Option<Command>> {
        let Order::Relay { origin, .. } = *order else { return Err(unfit(self.name, order)) };
        self.command(origin, port, scratch).map(Some)
    }
}

impl Nginx {
    fn command(&self, origin: SocketAddr, port: u16, scratch: &Path) -> io::Result<Command> {
        let module = NGINX_MODULES.iter().find(|path| Path::new(path).exists());
        let module = module.map_or(String::new(), |path| format!("load_module {path};\n"));
        let path = scratch.join(self.name);
        let (pid, buffer) = (scratch.join("nginx.pid"), self.buffer);
        let pid = pid.display();
        let text = format!(
            "{module}daemon off;\nmaster_process off;\nworker_processes 1;\npid {pid};\n\
             error_log stderr crit;\nevents {{ worker_connections 16000; }}\n\
             stream {{\n  proxy_buffer_size {buffer};\n  proxy_timeout 1h;\n  \
             server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass {origin}; }}\n}}\n"
        );
        fs::write(&path, text)?;
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(scratch).arg("-c").arg(path);
        Ok(command)
    }
}

/// Runs a command that says by its status whether a contestant can be had.
fn check(mut command: Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("no {program} here")),
        _ => error,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or("nothing").to_owned();
    Err(io::Error::other(format!("{program} ended with {}: {line}", output.status)))
}
