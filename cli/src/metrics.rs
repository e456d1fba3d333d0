//! `--metrics ADDR`: the counters of every core and the totals of the proxy, as Prometheus reads them, and
//! what every task waits for. One core serves it; each request is a connection of its own.

use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};
use ringpark::runtime::CoreHandle;
use tracing::debug;

use crate::totals::Totals;

/// How long a request may take, and how long its head may be.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD_MAX: usize = 8 << 10;

/// Answers requests for as long as it is awaited.
pub async fn serve(listener: TcpListener, totals: impl Fn() -> Vec<Total>) {
    loop {
        match listener.accept_stream().await {
            Ok(stream) => {
                stream.set_deadline(Some(Instant::now() + PATIENCE));
                if let Err(err) = answer(&stream, &totals()).await {
                    debug!("a request for metrics: {err}");
                }
            }
            Err(err) => {
                debug!("cannot accept a request for metrics: {err}");
                ringpark::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One of the proxy's own counters: name, meaning, count.
pub type Total = (&'static str, &'static str, u64);

async fn answer(stream: &TcpStream, totals: &[Total]) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        let Some(bytes) = stream.recv().await? else { break };
        head.extend_from_slice(&bytes);
    }
    let line = String::from_utf8_lossy(&head);
    let (status, body) = match line.split_whitespace().nth(1) {
        Some("/metrics") => ("200 OK", prometheus(totals)),
        Some("/tasks") => ("200 OK", tasks().await),
        _ => ("404 Not Found", "there are /metrics and /tasks\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head + &body).await.0
}

/// The text format of Prometheus.
fn prometheus(totals: &[Total]) -> String {
    let mut text = String::new();
    for (name, help, value) in totals {
        let name = format!("ringpark_proxy_{name}_total");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let cores: Vec<_> = ringpark::runtime::cores()
        .iter()
        .filter_map(|core: &CoreHandle| Some((core.id(), core.metrics()?)))
        .collect();
    let Some((_, first)) = cores.first() else { return text };
    for (index, counter) in first.counters().enumerate() {
        let (kind, suffix) = if counter.grows { ("counter", "_total") } else { ("gauge", "") };
        let name = format!("ringpark_{}{suffix}", counter.name);
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", counter.help);
        for (id, metrics) in &cores {
            let value = metrics.counters().nth(index).map_or(0, |counter| counter.value);
            let _ = writeln!(text, "{name}{{core=\"{id}\"}} {value}");
        }
    }
    text
}

async fn tasks() -> String {
    ringpark::runtime::dump().await.iter().map(|task| format!("{task}\n")).collect()
}

/// The totals of the proxy, with their meaning.
pub fn of(totals: &Totals) -> Vec<Total> {
    let [served, broken, refused, cut, to_upstreams, to_clients] = totals.values();
    vec![
        ("served", "Connections that were served to their end.", served),
        ("broken", "Of these, ended by an error or the idle timeout.", broken),
        ("refused", "Clients sent away because no upstream worked.", refused),
        ("cut", "Connections that were cut at the stop.", cut),
        ("bytes_to_upstreams", "Bytes carried to upstreams.", to_upstreams),
        ("bytes_to_clients", "Bytes carried to clients.", to_clients),
    ]
}
