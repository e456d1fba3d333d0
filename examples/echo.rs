//! An echo server on one core. What it receives is a lease of the core's buffer pool, and the same
//! lease is sent back: the bytes are never copied in user space, and a connection that is idle
//! holds no buffer.
//!
//! ```text
//! cargo run --release --example echo -- 127.0.0.1:7000 --backend epoll
//! ```

use std::env;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;

use ringpark::net::{TcpListener, TcpStream};
use ringpark::{Backend, Builder};

const USAGE: &str = "usage: echo ADDR [--backend uring|epoll|poll]";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Options {
    addr: SocketAddr,
    backend: Option<Backend>,
}

fn main() -> ExitCode {
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_ansi(colours).with_writer(io::stderr).init();
    let options = match parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("echo: {reason}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("echo: {err}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut addr, mut backend) = (None, None);
    while let Some(arg) = args.next() {
        if arg == "--backend" {
            let name = args.next().ok_or("--backend needs a name")?;
            let known = name.parse().map_err(|_| format!("there is no backend `{name}`"))?;
            backend = Some(known);
        } else if addr.is_none() {
            let bad = |_| format!("`{arg}` is not an address such as 127.0.0.1:7000");
            addr = Some(arg.parse().map_err(bad)?);
        } else {
            return Err(format!("`{arg}` is one argument too many"));
        }
    }
    let addr = addr.ok_or("no address to listen on")?;
    Ok(Options { addr, backend })
}

fn run(options: Options) -> io::Result<()> {
    let mut builder = Builder::new();
    if let Some(backend) = options.backend {
        builder = builder.backend(backend);
    }
    builder.block_on(serve(options.addr))?
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    // Once for all connections, which inherit it.
    listener.set_nodelay(true)?;
    eprintln!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        ringpark::spawn(async move {
            if let Err(err) = echo(stream).await {
                eprintln!("{peer}: {err}");
            }
        });
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    while let Some(lease) = stream.recv().await? {
        let (sent, _) = stream.write_all(lease).await;
        sent?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn an_address_is_enough() {
        let addr = "127.0.0.1:7000".parse().unwrap();
        assert_eq!(of("127.0.0.1:7000"), Ok(Options { addr, backend: None }));
    }

    #[test]
    fn the_backend_may_stand_on_either_side() {
        let addr = "[::1]:7000".parse().unwrap();
        let expected = Ok(Options { addr, backend: Some(Backend::Poll) });
        assert_eq!(of("[::1]:7000 --backend poll"), expected);
        assert_eq!(of("--backend poll [::1]:7000"), expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, says) in [
            ("", "no address"),
            ("localhost", "`localhost` is not an address"),
            ("127.0.0.1:7000 --backend", "needs a name"),
            ("127.0.0.1:7000 --backend iocp", "no backend `iocp`"),
            ("127.0.0.1:7000 127.0.0.1:7001", "one argument too many"),
        ] {
            let said = of(line).unwrap_err();
            assert!(said.contains(says), "{line:?}: {said}");
        }
    }
}
