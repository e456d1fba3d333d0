//! Connections through the proxy: which upstream they reach, and how each side's end reaches the
//! other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::proxy::{bounded, summary, Proxy};

/// Backends that every Linux has; the best one is among them as `auto`.
const BACKENDS: [&str; 3] = ["auto", "epoll", "poll"];

/// An upstream that reads to the end of what the client says, then answers with it and `tail`.
fn answering_at_the_end(connections: usize, tail: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        for _ in 0..connections {
            let mut stream = bounded(listener.accept().unwrap().0);
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard.extend_from_slice(tail.as_bytes());
            stream.write_all(&heard).unwrap();
        }
    });
    (addr, thread)
}

/// An address that nobody listens on, and that nobody gets while it is held.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Says `words`, then shuts down writing, and returns the answer up to its end.
fn ask(mut stream: TcpStream, words: &str) -> String {
    stream.write_all(words.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_half_closing_client_gets_its_answer_on_every_backend() {
    for backend in BACKENDS {
        let (upstream, server) = answering_at_the_end(1, " and back");
        let proxy = Proxy::start(&[upstream], &["--backend", backend]);
        assert_eq!(ask(proxy.connect(), "there"), "there and back", "{backend}");
        server.join().unwrap();
        let said = proxy.stop();
        let summary = summary(&said);
        assert!(summary.contains("1 served (0 ended by an error"), "{summary}");
        assert!(summary.contains("bytes: 5 to upstreams, 14 to clients"), "{summary}");
    }
}

#[test]
fn upstreams_take_turns() {
    let (first, one) = answering_at_the_end(2, "1");
    let (second, two) = answering_at_the_end(2, "2");
    let proxy = Proxy::start(&[first, second], &[]);
    let answers: Vec<String> = (0..4).map(|_| ask(proxy.connect(), "")).collect();
    assert_eq!(answers, ["1", "2", "1", "2"]);
    one.join().unwrap();
    two.join().unwrap();
}

#[test]
fn an_upstream_that_refuses_is_passed_over_and_said_once() {
    let (_holder, refusing) = closed_port();
    let (working, server) = answering_at_the_end(3, "!");
    let proxy = Proxy::start(&[refusing, working], &[]);
    for _ in 0..3 {
        assert_eq!(ask(proxy.connect(), "here"), "here!");
    }
    server.join().unwrap();
    let said = proxy.stop();
    let named = format!("cannot connect to upstream {refusing}");
    assert_eq!(said.iter().filter(|line| line.contains(&named)).count(), 1, "{said:#?}");
    assert!(summary(&said).contains("3 served (0 ended by an error"), "{said:#?}");
    assert!(summary(&said).contains("0 refused"), "{said:#?}");
}

#[test]
fn an_upstream_that_came_back_is_used_again() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = place.local_addr().unwrap();
    drop(place);
    let mut proxy = Proxy::start(&[addr], &[]);
    assert_eq!(end_of(proxy.connect()), 0);
    proxy.wait_for("no upstream works");
    let place = TcpListener::bind(addr).unwrap();
    let server = thread::spawn(move || bounded(place.accept().unwrap().0).write_all(b"back"));
    assert_eq!(ask(proxy.connect(), ""), "back");
    server.join().unwrap().unwrap();
    proxy.wait_for("works again after 1 failed attempts");
}

#[test]
fn a_name_is_looked_up() {
    // `localhost` may be looked up as ::1 first; that refuses, and 127.0.0.1 takes over.
    let (upstream, server) = answering_at_the_end(1, "!");
    let named = format!("localhost:{}", upstream.port());
    let proxy = Proxy::start(&[], &["--to", &named]);
    assert_eq!(ask(proxy.connect(), "by name"), "by name!");
    server.join().unwrap();
}

#[test]
fn with_no_upstream_the_client_is_sent_away_and_the_proxy_goes_on() {
    let (_holder, refusing) = closed_port();
    let mut proxy = Proxy::start(&[refusing], &[]);
    let before = proxy.descriptors();
    for _ in 0..5 {
        assert_eq!(end_of(proxy.connect()), 0);
    }
    proxy.wait_for("no upstream works");
    proxy.wait_for_descriptors(before);
    let said = proxy.stop();
    assert!(summary(&said).contains("0 served"), "{said:#?}");
    assert!(summary(&said).contains("5 refused"), "{said:#?}");
}

#[test]
fn an_upstream_killed_in_mid_stream_ends_the_client_and_leaves_no_descriptor() {
    for backend in BACKENDS {
        // A proxy is also a process that can be killed, so one serves as the upstream of another.
        // Behind it stands a source that writes without end.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source_addr = listener.local_addr().unwrap();
        let source = thread::spawn(move || {
            let mut stream = bounded(listener.accept().unwrap().0);
            let chunk = [7; 65536];
            while stream.write_all(&chunk).is_ok() {}
        });
        let upstream = Proxy::start(&[source_addr], &[]);
        let proxy = Proxy::start(&[upstream.addr], &["--backend", backend]);
        let before = proxy.descriptors();
        let mut client = proxy.connect();
        let mut chunk = vec![0; 1 << 20];
        client.read_exact(&mut chunk).unwrap();
        upstream.signal(Signal::KILL);
        end_of(client);
        source.join().unwrap();
        proxy.wait_for_descriptors(before);
        let said = proxy.stop();
        assert!(summary(&said).contains("0 cut"), "{backend}: {said:#?}");
    }
}

#[test]
fn a_client_that_vanishes_ends_its_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&[listener.local_addr().unwrap()], &[]);
    let before = proxy.descriptors();
    let client = proxy.connect();
    let server = bounded(listener.accept().unwrap().0);
    drop(client);
    assert_eq!(end_of(server), 0);
    proxy.wait_for_descriptors(before);
}

#[test]
fn a_connection_without_traffic_ends_after_the_idle_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&[listener.local_addr().unwrap()], &["--idle-timeout", "200ms"]);
    let client = proxy.connect();
    let server = bounded(listener.accept().unwrap().0);
    assert_eq!(end_of(client), 0);
    assert_eq!(end_of(server), 0);
    let said = proxy.stop();
    assert!(summary(&said).contains("1 served (1 ended by an error"), "{said:#?}");
}

#[test]
fn more_clients_than_descriptors_wait_and_are_all_served() {
    const CLIENTS: usize = 100;
    for backend in BACKENDS {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 60 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringpark")]);
        let (upstream, server) = answering_at_the_end(CLIENTS, "!");
        let mut proxy = Proxy::start_as(shell, &[upstream], &["--backend", backend]);
        // All are connected before the first of them says anything, so most must wait.
        let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| proxy.connect()).collect();
        proxy.wait_for("as many as the descriptor limit lets it have");
        for client in clients {
            assert_eq!(ask(client, "patience"), "patience!", "{backend}");
        }
        server.join().unwrap();
        let said = proxy.stop();
        assert!(summary(&said).contains("100 served (0 ended by an error"), "{said:#?}");
        assert!(summary(&said).contains("0 refused, 0 cut"), "{said:#?}");
        assert!(!said.iter().any(|line| line.contains("os error")), "{backend}: {said:#?}");
    }
}

/// Reads to the end, whether that is an orderly one or a reset; the bytes on the way.
fn end_of(mut stream: TcpStream) -> usize {
    let (mut total, mut chunk) = (0, vec![0; 65536]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return total,
            Ok(n) => total += n,
            Err(err) if err.kind() == std::io::ErrorKind::ConnectionReset => return total,
            Err(err) => panic!("neither an end nor a reset: {err}"),
        }
    }
}
