//! A restart that nobody notices: a service manager holds the socket, starts the new proxy, waits until
//! it is ready, and only then asks the old one to stop.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::proxy::{bounded, ringpark, summary, Proxy, HANDED_IN, PATIENCE};

/// What holds the socket, and is told when a proxy is ready.
struct Manager {
    socket: TcpListener,
    notified: UnixDatagram,
    /// Where its socket lies, as `notify`.
    folder: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = TempDir::new().unwrap();
        let notified = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notified.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket: TcpListener::bind("127.0.0.1:0").unwrap(), notified, folder }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// A command that starts the program with the socket as descriptor 3: the shell moves it there,
    /// and its process id stays the program's.
    fn command(&self) -> Command {
        let mut shell = Command::new("sh");
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
        shell.args(["-c", script]).arg(ringpark().get_program());
        shell.env("LISTEN_FDS", "1").env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        shell.env_remove("RUST_LOG").env_remove("RINGPARK_BACKEND").env_remove("RINGPARK_WITHOUT");
        shell.stdin(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())));
        shell
    }

    fn start(&self, upstream: SocketAddr, options: &[&str]) -> Proxy {
        let options: Vec<&str> = options.iter().copied().chain([HANDED_IN]).collect();
        let proxy = Proxy::start_as(self.command(), &[upstream], &options);
        assert_eq!(self.told(), "READY=1");
        proxy
    }

    fn told(&self) -> String {
        let mut heard = [0; 64];
        let count = self.notified.recv(&mut heard).expect("the proxy tells");
        String::from_utf8_lossy(&heard[..count]).into_owned()
    }
}

/// An upstream that echoes what each connection says, until the last of its clients has gone.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = bounded(stream.unwrap());
            thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut chunk) {
                    if stream.write_all(&chunk[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// One question on a connection of its own.
fn ask(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = bounded(TcpStream::connect(addr)?);
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    match &answer {
        b"hello" => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn restarts_drop_nothing(options: &[&str]) {
    let (manager, upstream) = (Manager::new(), echo());
    let addr = manager.addr();
    let mut proxy = manager.start(upstream, options);
    assert_eq!(proxy.addr, addr);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, asked) = (stop.clone(), asked.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(addr)?;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                std::io::Result::Ok(())
            })
        })
        .collect();
    // A connection that outlives all restarts stays with the proxy that took it.
    let mut long = proxy.connect();
    long.write_all(b"first").unwrap();
    long.read_exact(&mut [0; 5]).unwrap();
    let mut old = Vec::new();
    for _ in 0..10 {
        let before = asked.load(Ordering::Relaxed);
        let next = manager.start(upstream, options);
        proxy.signal(Signal::TERM);
        assert_eq!(manager.told(), "STOPPING=1");
        proxy.wait_for("no longer listening");
        old.push(std::mem::replace(&mut proxy, next));
        while asked.load(Ordering::Relaxed) < before + 50
            && !clients.iter().any(|it| it.is_finished())
        {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap().expect("nobody is refused or reset");
    }
    long.write_all(b"last").unwrap();
    long.read_exact(&mut [0; 4]).unwrap();
    drop(long);
    let mut served = 0;
    old.push(proxy);
    old.last().expect("just pushed").signal(Signal::TERM);
    for proxy in old {
        let (status, said) = proxy.wait();
        assert_eq!(status.code(), Some(0), "{said:#?}");
        let line = summary(&said);
        assert!(line.contains("(0 ended by an error"), "{line}");
        assert!(line.contains("0 refused, 0 cut"), "{line}");
        let (_, rest) = line.split_once("connections: ").unwrap();
        served += rest.split_once(' ').unwrap().0.parse::<u64>().unwrap();
    }
    assert_eq!(served, asked.load(Ordering::Relaxed) + 1, "each connection was served once");
}

#[test]
fn ten_restarts_refuse_and_reset_nobody() {
    restarts_drop_nothing(&["--grace", "30s", "--threads", "2"]);
}

#[test]
fn ten_restarts_refuse_and_reset_nobody_on_epoll() {
    restarts_drop_nothing(&["--grace", "30s", "--backend", "epoll"]);
}

#[test]
fn ten_restarts_refuse_and_reset_nobody_with_one_acceptor() {
    let options = ["--grace", "30s", "--threads", "2", "--accept", "by-load"];
    restarts_drop_nothing(&options);
}

#[test]
fn without_an_address_and_without_a_socket_it_says_what_is_missing() {
    let output = ringpark().args(["proxy", "--to", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("give --listen") && said.contains("LISTEN_FDS"), "{said}");
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused() {
    let manager = Manager::new();
    let mut command = manager.command();
    command.stdin(Stdio::from(std::fs::File::open("/dev/zero").unwrap()));
    let output = command.args(["proxy", "--to", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("handed in is no"), "{said}");
}
