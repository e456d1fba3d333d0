//! What the proxy tells of itself: `--metrics` and `--stall-limit`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use crate::proxy::{bounded, ringpark, Proxy, PATIENCE};

/// Where the proxy answers requests for metrics.
fn metrics_of(proxy: &Proxy) -> SocketAddr {
    let line =
        proxy.said().iter().find(|line| line.contains("metrics on ")).expect("it says where");
    let (_, address) = line.split_once("metrics on ").expect("just found");
    address.trim().parse().expect("it is an address")
}

/// The status line and the body of the answer to `GET path`.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = bounded(TcpStream::connect(address).expect("it listens"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers, and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.lines().any(|line| line == length), "{head}");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

/// The sum over all cores of what a text of Prometheus says of `name`.
fn value(text: &str, name: &str) -> u64 {
    let named = |line: &&str| line.split([' ', '{']).next() == Some(name);
    let values: Vec<u64> = text
        .lines()
        .filter(named)
        .map(|line| line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number"))
        .collect();
    assert!(!values.is_empty(), "no {name} in {text}");
    values.iter().sum()
}

/// A proxy with these options, and one connection through it, over which five bytes went each way.
fn with_a_connection(options: &[&str]) -> (Proxy, [TcpStream; 2]) {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = upstream.local_addr().expect("it is bound");
    let proxy = Proxy::start(&[address], options);
    let mut client = proxy.connect();
    let mut server = bounded(upstream.accept().expect("the proxy connects").0);
    let mut bytes = [0; 5];
    client.write_all(b"hello").expect("the proxy reads");
    server.read_exact(&mut bytes).expect("it passes them on");
    server.write_all(&bytes).expect("the proxy reads");
    client.read_exact(&mut bytes).expect("it passes them on");
    (proxy, [client, server])
}

#[test]
fn metrics_are_what_the_proxy_did() {
    for backend in ["auto", "epoll", "poll"] {
        let options = ["--metrics", "127.0.0.1:0", "--threads", "2", "--backend", backend];
        let (proxy, ends) = with_a_connection(&options);
        let metrics = metrics_of(&proxy);
        let (status, first) = get(metrics, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK", "{backend}");
        // The connection is open: its relay is a task, and nothing is counted as served.
        assert_eq!(value(&first, "ringpark_proxy_served_total"), 0);
        assert!(value(&first, "ringpark_tasks") >= 1, "{first}");
        assert!(value(&first, "ringpark_turns_total") > 0, "{first}");
        for core in ["0", "1"] {
            let line = format!("ringpark_turns_total{{core=\"{core}\"}} ");
            assert!(first.contains(&line), "both cores: {first}");
        }
        // Every line is a comment, or a name, labels and a number; every name has its type.
        for line in first.lines().filter(|line| !line.starts_with("# ")) {
            let (name, number) = line.rsplit_once(' ').expect("a value");
            assert!(number.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().expect("a name");
            assert!(first.contains(&format!("# TYPE {name} ")), "{name} has no type");
        }

        drop(ends);
        let end = Instant::now() + PATIENCE;
        loop {
            let (_, text) = get(metrics, "/metrics");
            if value(&text, "ringpark_proxy_served_total") == 1 {
                assert_eq!(value(&text, "ringpark_proxy_bytes_to_upstreams_total"), 5);
                assert_eq!(value(&text, "ringpark_proxy_bytes_to_clients_total"), 5);
                assert!(
                    value(&text, "ringpark_turns_total") > value(&first, "ringpark_turns_total")
                );
                break;
            }
            assert!(Instant::now() < end, "it is never served: {text}");
        }
        proxy.stop();
    }
}

#[test]
fn tasks_are_listed_with_what_they_wait_for() {
    let (proxy, _ends) = with_a_connection(&["--metrics", "127.0.0.1:0"]);
    let (status, text) = get(metrics_of(&proxy), "/tasks");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let of_the_main = text.lines().find(|line| line.contains("main, spawned at"));
    assert!(of_the_main.is_some_and(|line| line.contains("proxy.rs")), "where it began: {text}");
    let waits = |operation: &str| text.lines().any(|line| line.contains(operation));
    assert!(waits("accept on ") || waits("accept-multishot on "), "{text}");
    assert!(text.lines().all(|line| line.starts_with("core ") && line.contains("since")), "{text}");
    proxy.stop();
}

#[test]
fn what_is_not_there_is_said() {
    let proxy =
        Proxy::start(&[SocketAddr::from(([127, 0, 0, 1], 9))], &["--metrics", "127.0.0.1:0"]);
    let (status, body) = get(metrics_of(&proxy), "/secrets");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    assert_eq!(body, "there are /metrics and /tasks\n");
    proxy.stop();
}

#[test]
fn metrics_on_an_address_that_is_taken_are_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = ringpark()
        .args(["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9", "--metrics", &address])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[test]
fn a_task_that_holds_its_thread_is_told() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = upstream.local_addr().expect("it is bound");
    let options = ["--metrics", "127.0.0.1:0", "--stall-limit", "1ms"];
    let mut proxy = Proxy::start(&[address], &options);
    let metrics = metrics_of(&proxy);
    // Many connections, so that a list of all tasks takes its time.
    let clients: Vec<_> = (0..300).map(|_| proxy.connect()).collect();
    let end = Instant::now() + PATIENCE;
    while value(&get(metrics, "/metrics").1, "ringpark_stalls_total") == 0 {
        assert!(Instant::now() < end, "no task ever held the thread for a millisecond");
        get(metrics, "/tasks");
    }
    let line = proxy.wait_for("a task holds its core");
    assert!(line.contains("held="), "{line}");
    drop(clients);
    proxy.stop();
}

#[test]
fn without_a_limit_no_task_is_told() {
    let (proxy, _ends) = with_a_connection(&["--metrics", "127.0.0.1:0"]);
    assert_eq!(value(&get(metrics_of(&proxy), "/metrics").1, "ringpark_stalls_total"), 0);
    let said = proxy.stop();
    assert!(!said.iter().any(|line| line.contains("holds its core")), "{said:#?}");
}
