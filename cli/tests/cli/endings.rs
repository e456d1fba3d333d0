//! How the proxy itself ends: gracefully at the first signal, at once at the second, and always
//! with a summary and exit code 0.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use rustix::process::Signal;

use crate::proxy::{bounded, summary, Proxy};

/// A proxy with one open connection: the client's end and the server's.
fn with_a_connection(options: &[&str]) -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&[listener.local_addr().unwrap()], options);
    let client = proxy.connect();
    let server = bounded(listener.accept().unwrap().0);
    (proxy, client, server)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, words: &str) {
    from.write_all(words.as_bytes()).unwrap();
    let mut heard = vec![0; words.len()];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(heard, words.as_bytes());
}

/// The stream is ended by the other side, in order or by a reset.
fn assert_ended(mut stream: TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("still open: {other:?}"),
    }
}

#[test]
fn a_stop_without_connections_is_immediate() {
    for signal in [Signal::TERM, Signal::INT] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(&[listener.local_addr().unwrap()], &["--grace", "0"]);
        proxy.signal(signal);
        let (status, said) = proxy.wait();
        assert_eq!(status.code(), Some(0), "{said:#?}");
        let summary = summary(&said);
        assert!(summary.contains("0 served"), "{summary}");
        assert!(summary.contains("0 refused, 0 cut"), "{summary}");
        assert!(summary.contains("bytes: 0 to upstreams, 0 to clients"), "{summary}");
    }
}

#[test]
fn all_cores_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstreams = [listener.local_addr().unwrap()];
    let proxy = Proxy::start(&upstreams, &["--threads", "3"]);
    let said = proxy.stop();
    let cores = said.iter().filter(|line| line.contains("backend=")).count();
    assert_eq!(cores, 3, "one line per core: {said:#?}");
}

#[test]
fn a_graceful_stop_lets_the_open_connection_finish() {
    let (mut proxy, mut client, mut server) = with_a_connection(&["--grace", "0"]);
    pass(&mut client, &mut server, "before");
    proxy.signal(Signal::TERM);
    proxy.wait_for("no longer listening");
    let refused = TcpStream::connect(proxy.addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    pass(&mut client, &mut server, "after");
    pass(&mut server, &mut client, "and back");
    client.shutdown(Shutdown::Both).unwrap();
    drop(server);
    let (status, said) = proxy.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(summary(&said).contains("1 served"), "{said:#?}");
    assert!(summary(&said).contains("0 cut"), "{said:#?}");
    assert!(summary(&said).contains("bytes: 11 to upstreams, 8 to clients"), "{said:#?}");
}

#[test]
fn the_end_of_the_grace_period_cuts() {
    let (proxy, mut client, mut server) = with_a_connection(&["--grace", "100ms"]);
    pass(&mut client, &mut server, "hello");
    proxy.signal(Signal::TERM);
    assert_ended(client);
    assert_ended(server);
    let (status, said) = proxy.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("grace period is over")), "{said:#?}");
    assert!(summary(&said).contains("0 served"), "{said:#?}");
    assert!(summary(&said).contains("1 cut; bytes: 5 to upstreams"), "{said:#?}");
}

#[test]
fn a_second_signal_cuts_at_once() {
    // No limit to the grace period: only the second signal can end it.
    let (mut proxy, mut client, mut server) = with_a_connection(&["--grace", "0"]);
    pass(&mut client, &mut server, "hello");
    proxy.signal(Signal::TERM);
    proxy.wait_for("no new connections");
    proxy.signal(Signal::INT);
    assert_ended(client);
    assert_ended(server);
    let (status, said) = proxy.wait();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(summary(&said).contains("1 cut; bytes: 5 to upstreams"), "{said:#?}");
}
