//! What it costs to be seen: a dump of ten thousand connections, how long that keeps a core from its I/O,
//! and the counters that other threads can read.
//!
//! ```text
//!   core: 10,000 connections, a task each, and an echo ◀── one message after the other ── a thread
//!         now and then: a dump
//! ```
//! The longest round trip of the thread beside dumps, less the usual one, is how long I/O stood still.
//!
//! Counters cost something once a turn, so a core turns many times with and without them, in short
//! slices that alternate: whatever else the machine does concerns both alike. A turn in which a core
//! serves one request of 64 bytes takes 3 µs at the very least.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};
use ringpark::runtime::dump;
use ringpark::time::sleep;
use ringpark::{Backend, Builder};
use ringpark_bench::options::OURS;

const CONNECTIONS: usize = 10_000;
/// Connections that the kernel holds for one listener.
const QUEUE: usize = 4000;
const DUMPS: usize = 21;
/// Slices of so many turns, and how many of each kind.
const TURNS: u32 = 20_000;
const SLICES: usize = 101;
/// Between two dumps, and without any before the first.
const PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let ours = |argument: &String| OURS.iter().any(|ours| argument.starts_with(ours));
    if std::env::args().any(|argument| ours(&argument)) {
        println!("the options are for the comparison: no dump is measured");
        return;
    }
    // A test run, and one that asks criterion for a single benchmark by its name.
    if !std::env::args().skip(1).all(|argument| ["--bench", "--quick"].contains(&&*argument))
        || std::env::args().len() == 1
    {
        return;
    }
    for backend in [Backend::Uring, Backend::Epoll] {
        match Builder::new().backend(backend).block_on(measure()) {
            Ok(said) => println!("{backend}: {said}"),
            Err(error) => println!("{backend}: {error}"),
        }
        match counters(backend) {
            Ok(said) => println!("{backend}: {said}"),
            Err(error) => println!("{backend}: {error}"),
        }
    }
}

/// What a turn takes with counters that are published, and without.
fn counters(backend: Backend) -> std::io::Result<String> {
    let slice = |builder: Builder| {
        builder.backend(backend).block_on(async {
            // The main future yields, and that is the whole turn.
            ringpark::yield_now().await;
            let begin = Instant::now();
            for _ in 0..TURNS {
                ringpark::yield_now().await;
            }
            begin.elapsed().as_nanos() as f64 / f64::from(TURNS)
        })
    };
    let (mut with, mut without, mut more) = (vec![], vec![], vec![]);
    for _ in 0..SLICES {
        let pair = [slice(Builder::new())?, slice(Builder::new().unwatched())?];
        with.push(pair[0]);
        without.push(pair[1]);
        more.push(pair[0] - pair[1]);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (with, without, more) = (median(&mut with), median(&mut without), median(&mut more));
    Ok(format!(
        "an empty turn takes {with:.0} ns with counters and {without:.0} ns without; the counters take \
         {more:.0} ns of a turn"
    ))
}

async fn measure() -> String {
    let queues: Vec<_> = (0..CONNECTIONS.div_ceil(QUEUE)).map(|_| queue()).collect();
    for index in 0..CONNECTIONS {
        let address = queues[index / QUEUE].local_addr().expect("it is bound");
        let address = address.as_socket().expect("an IP address");
        let stream = StdStream::connect(address).expect("the queue has room");
        let stream = TcpStream::from_std(stream).expect("a stream can join");
        drop(ringpark::spawn(async move { drop(stream.recv().await) }));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("it is bound");
    let (dumping, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let client = std::thread::spawn({
        let (dumping, over) = (dumping.clone(), over.clone());
        move || round_trips(&mut StdStream::connect(address).expect("it listens"), &dumping, &over)
    });
    let stream = listener.accept_stream().await.expect("a client");
    let echo = ringpark::spawn(async move {
        while let Some(lease) = stream.recv().await.expect("no reset") {
            stream.write_all(lease).await.0.expect("the client reads");
        }
    });
    sleep(PAUSE * 10).await;
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..DUMPS {
        dumping.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        let tasks = dump().await;
        took.push(begin.elapsed());
        assert!(tasks.len() > CONNECTIONS, "{} tasks", tasks.len());
        drop(tasks);
        sleep(Duration::from_millis(1)).await;
        dumping.store(false, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
    over.store(true, Ordering::Relaxed);
    echo.await.expect("the client goes");
    let [mut usual, mut beside] = client.join().expect("no panic");
    [&mut took, &mut usual, &mut beside].into_iter().for_each(|times| times.sort());
    format!(
        "a dump of {CONNECTIONS} connections took {:.1?} (at most {:.1?}); a round trip takes {:.1?}, \
         the longest beside a dump took {:.1?}",
        took[DUMPS / 2],
        took[DUMPS - 1],
        usual[usual.len() / 2],
        beside[beside.len() - 1],
    )
}

/// A listener from which nobody accepts: its connections are open, and take one descriptor each.
fn queue() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket
        .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into())
        .expect("a port");
    socket.listen(QUEUE as i32).expect("it can listen");
    socket
}

/// How long round trips took: those by themselves, and those beside a dump.
fn round_trips(
    stream: &mut StdStream,
    dumping: &AtomicBool,
    over: &AtomicBool,
) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let before = dumping.load(Ordering::Relaxed);
        stream.write_all(&[7; 64]).expect("the core reads");
        stream.read_exact(&mut [0; 64]).expect("the core answers");
        times[usize::from(before || dumping.load(Ordering::Relaxed))].push(begin.elapsed());
    }
    times
}
