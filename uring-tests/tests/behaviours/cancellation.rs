//! Cancellation: a future may be dropped at any point, and nothing is lost, leaked or harmed by it.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::io::Write;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringpark::io::RelayPath;
use ringpark::net::TcpStream;
use ringpark::time::{sleep, timeout};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "X1" => dropped_reads_lose_nothing,
    Every: "X1" => timed_out_reads_lose_nothing,
    Every: "X3" => random_cancel_points_leak_no_descriptor,
    Every: "X4" => a_submission_queue_of_two_loses_no_cancel,
    Every: "X6" => a_completion_queue_of_the_smallest_size_loses_nothing,
    Every: "X7" => a_pool_of_four_serves_a_thousand_hot_connections,
    Every: "X9" => a_dropped_write_leaves_the_stream_usable,
    Every: "X8" => a_buffer_of_a_dropped_read_is_not_freed_under_the_kernel,
    Every: "X10" => operations_dropped_before_they_are_polled_do_nothing,
    Every: "X11" => completion_and_cancel_in_one_turn_lose_nothing,
];

/// Runs a future for a random while, then drops it; says what it gave if it ended in time.
async fn run_for_a_while<F: Future>(rng: &mut fastrand::Rng, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match rng.u32(0..200) {
        0..25 => None,
        25..110 => match poll_once(future).await {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        },
        110..185 => {
            for _ in 0..rng.u32(1..4) {
                if let Poll::Ready(output) = poll_once(future.as_mut()).await {
                    return Some(output);
                }
                ringpark::yield_now().await;
            }
            None
        }
        185..199 => timeout(Duration::from_micros(rng.u64(0..300)), future).await.ok(),
        _ => timeout(ms(2), future).await.ok(),
    }
}

/// A client sends a numbered stream while the server drops and restarts its reads at random.
fn dropped_reads_lose_nothing(variant: &Variant) {
    let total = variant.scale(32 << 20).max(8 << 20);
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, mut plain) = half();
        let writer = std::thread::spawn({
            let (pattern, mut rng) = (pattern.clone(), variant.rng());
            move || {
                let mut sent = 0;
                while sent < total {
                    let most = if rng.bool() { 200 } else { 50_000 };
                    let len = rng.u64(1..most).min(total - sent) as usize;
                    let chunk = pattern.chunk(sent, len);
                    plain.write_all(&chunk).expect("it reads");
                    sent += chunk.len() as u64;
                }
            }
        });
        let mut rng = variant.rng();
        let mut checker = pattern.checker();
        let mut dropped = 0;
        while checker.offset() < total {
            match rng.u32(0..3) {
                0 => match run_for_a_while(&mut rng, ours.recv()).await {
                    Some(lease) => checker.take(&lease.expect("bytes").expect("not the end")),
                    None => dropped += 1,
                },
                1 => {
                    let buffer = Vec::with_capacity(rng.usize(1..20_000));
                    match run_for_a_while(&mut rng, ours.read(buffer)).await {
                        Some((result, bytes)) => {
                            assert!(result.expect("bytes") > 0, "the end came early");
                            checker.take(&bytes);
                        }
                        None => dropped += 1,
                    }
                }
                _ => {
                    let buffer = Vec::with_capacity(rng.usize(1..20_000));
                    if let Some((result, bytes)) =
                        run_for_a_while(&mut rng, ours.peek(buffer)).await
                    {
                        assert!(result.expect("bytes") > 0, "the end came early");
                        assert_eq!(bytes, pattern.bytes(checker.offset(), bytes.len()));
                    }
                }
            }
        }
        assert!(dropped > 0, "no read was dropped, so nothing was tried");
        until("all has been sent", || writer.is_finished()).await;
        writer.join().expect("it reads");
        assert!(ours.recv().await.expect("a clean end").is_none());
    });
}

/// The same with time-outs around reads, on many streams at once.
fn timed_out_reads_lose_nothing(variant: &Variant) {
    let each = variant.scale(1 << 20);
    variant.run(async {
        let tasks: Vec<_> = (0..20)
            .flat_map(|number| {
                let pattern = Pattern::small(variant.seed() + number);
                let mut rng = fastrand::Rng::with_seed(variant.seed() + number);
                let mut writer_rng = rng.fork();
                let (ours, other) = pair();
                let mut checker = pattern.checker();
                let writer = ringpark::spawn(async move {
                    let mut sent = 0;
                    while sent < each {
                        let len = writer_rng.u64(1..20_000).min(each - sent) as usize;
                        let bytes = pattern.bytes(sent, len);
                        other.write_all(bytes).await.0.expect("it reads");
                        sent += len as u64;
                        if writer_rng.u32(0..4) == 0 {
                            sleep(Duration::from_micros(writer_rng.u64(0..500))).await;
                        }
                    }
                });
                let reader = ringpark::spawn(async move {
                    while checker.offset() < each {
                        let limit = Duration::from_micros(rng.u64(0..1000));
                        if rng.bool() {
                            if let Ok(lease) = timeout(limit, ours.recv()).await {
                                checker.take(&lease.expect("bytes").expect("not the end"));
                            }
                        } else {
                            let read = ours.read(Vec::with_capacity(rng.usize(1..5000)));
                            if let Ok((result, bytes)) = timeout(limit, read).await {
                                assert!(result.expect("bytes") > 0, "the end came early");
                                checker.take(&bytes);
                            }
                        }
                    }
                    assert!(ours.recv().await.expect("a clean end").is_none());
                });
                [writer, reader]
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

/// Descriptors before = descriptors after, whatever was dropped when.
fn random_cancel_points_leak_no_descriptor(variant: &Variant) {
    let points = variant.scale(100_000);
    let stuck = StuckListener::new();
    let (_holder, closed) = closed_port();
    variant.run(async {
        let before = without_pipes();
        {
            let mut rng = variant.rng();
            let (listener, address) = listener().await;
            let mut streams: Vec<(TcpStream, TcpStream)> = (0..8).map(|_| pair()).collect();
            let mut accepted = Vec::new();
            for _ in 0..points {
                let index = rng.usize(0..streams.len());
                let (one, other) = &streams[index];
                match rng.u32(0..15) {
                    0 => drop(run_for_a_while(&mut rng, one.recv()).await),
                    1 => drop(run_for_a_while(&mut rng, one.read(vec![0; 100])).await),
                    2 => drop(run_for_a_while(&mut rng, one.peek(vec![0; 100])).await),
                    3 => drop(run_for_a_while(&mut rng, one.write(vec![1; 3000])).await),
                    4 => drop(run_for_a_while(&mut rng, other.write_all(vec![1; 70_000])).await),
                    5 => {
                        let parts = vec![vec![2; 500]; 5];
                        drop(run_for_a_while(&mut rng, one.write_vectored_all(parts)).await);
                    }
                    6 => drop(run_for_a_while(&mut rng, other.readable()).await),
                    7 => drop(run_for_a_while(&mut rng, one.writable()).await),
                    8 => drop(run_for_a_while(&mut rng, listener.accept()).await),
                    9 => drop(run_for_a_while(&mut rng, TcpStream::connect(closed)).await),
                    10 => drop(run_for_a_while(&mut rng, TcpStream::connect(stuck.address)).await),
                    11 => {
                        let connected =
                            run_for_a_while(&mut rng, TcpStream::connect(address)).await;
                        if let Some(stream) = connected {
                            accepted.push(stream.expect("the listener listens"));
                        }
                        if let Some(accept) = run_for_a_while(&mut rng, listener.accept()).await {
                            accepted.push(accept.expect("one waits").0);
                        }
                        if accepted.len() > 20 {
                            accepted.clear();
                        }
                    }
                    12 => {
                        let path = [RelayPath::Auto, RelayPath::Copy, RelayPath::Splice];
                        let path = path[rng.usize(0..path.len())];
                        let joined = ringpark::io::relay(one, other).path(path).into_future();
                        drop(run_for_a_while(&mut rng, joined).await);
                    }
                    13 => {
                        drop(run_for_a_while(&mut rng, one.close()).await);
                        streams[index] = pair();
                    }
                    _ => streams[index] = pair(),
                }
                if rng.u32(0..200) == 0 {
                    // What waits in the backlog is no leak of ours, but would fill it up.
                    while timeout(ms(1), listener.accept()).await.is_ok() {}
                }
            }
        }
        variant::drained().await;
        for _ in 0..5000 {
            if without_pipes() == before {
                return;
            }
            sleep(ms(1)).await;
        }
        panic!("before: {before:#?}\nafter: {:#?}", without_pipes());
    });
}

/// The descriptors, but for pipes: relays leave theirs to the next ones, until the runtime ends.
fn without_pipes() -> BTreeMap<RawFd, PathBuf> {
    let mut open = sys::descriptors();
    open.retain(|_, path| !path.to_string_lossy().starts_with("pipe:"));
    open
}

/// A submission queue of 2 entries and 10,000 cancels: none lost.
fn a_submission_queue_of_two_loses_no_cancel(variant: &Variant) {
    let cancels = variant.scale(10_000);
    variant.run_on(variant.builder().submission_entries(2), async {
        let streams: Vec<_> = (0..100).map(|_| half()).collect();
        let before = ringpark::runtime::metrics().cancels;
        let mut count = 0;
        while count < cancels {
            let mut reads: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
            for (number, (ours, _)) in streams.iter().enumerate() {
                let mut read: Pin<Box<dyn Future<Output = ()> + '_>> = if number % 2 == 0 {
                    Box::pin(async { drop(ours.read(vec![0; 8]).await) })
                } else {
                    Box::pin(async { drop(ours.readable().await) })
                };
                start(read.as_mut()).await;
                reads.push(read);
            }
            if count % 200 == 0 {
                ringpark::yield_now().await;
                sleep(ms(1)).await;
            }
            count += reads.len() as u64;
            drop(reads);
        }
        variant::drained().await;
        let metrics = ringpark::runtime::metrics();
        // Elsewhere nothing is in the kernel's hands, so that there is nothing to cancel.
        assert!(metrics.cancels > before || !variant.needs_uring(), "{metrics:?}");
        for (number, (ours, mut plain)) in streams.into_iter().enumerate() {
            plain.write_all(&[number as u8]).expect("there is room");
            assert_eq!(promptly("a read", receive(&ours, 1)).await, [number as u8]);
        }
    });
}

/// A completion queue of the smallest size under a burst: overflow is counted where it can
/// happen, nothing is lost, nobody hangs.
fn a_completion_queue_of_the_smallest_size_loses_nothing(variant: &Variant) {
    let builder = variant.builder().submission_entries(2).completion_entries(4);
    variant.run_on(builder, async {
        let mut streams: Vec<_> = (0..200)
            .map(|_| {
                let (ours, plain) = half();
                (Rc::new(ours), plain)
            })
            .collect();
        for round in 0..variant.scale(50).max(5) {
            let tasks: Vec<_> = streams
                .iter()
                .enumerate()
                .map(|(number, (ours, _))| {
                    let ours = ours.clone();
                    ringpark::spawn(async move {
                        if number % 2 == 0 {
                            let mut got = 0;
                            while got < 8 {
                                let lease = ours.recv().await.expect("bytes come");
                                got += lease.expect("not the end").len();
                            }
                        } else {
                            assert_eq!(receive(&ours, 8).await, round.to_ne_bytes());
                        }
                    })
                })
                .collect();
            sleep(ms(1)).await;
            // All at once, while the core is kept from looking.
            for (_, plain) in &mut streams {
                plain.write_all(&round.to_ne_bytes()).expect("there is room");
            }
            for task in tasks {
                promptly("a reader", task).await.expect("its own bytes");
            }
        }
        let metrics = ringpark::runtime::metrics();
        println!("{} overflows, {} completions", metrics.overflows, metrics.completions);
        if variant.needs_uring() && !variant.has_faults() {
            assert!(metrics.overflows > 0, "200 answers do not fit into 4 entries: {metrics:?}");
        }
    });
}

/// A pool of 4 buffers with 1000 hot connections: all make progress, the slowest within a
/// bounded factor of the average.
fn a_pool_of_four_serves_a_thousand_hot_connections(variant: &Variant) {
    const FACTOR: u64 = 20;
    let connections = affordable(variant.scale(1000).max(100), 2);
    let target = connections * 50;
    variant.run_on(variant.builder().buffer_pool(4, 512), async {
        let total = Rc::new(std::cell::Cell::new(0));
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let (ours, other) = pair();
            let total = total.clone();
            tasks.push(ringpark::spawn(async move {
                let mut rounds = 0;
                while total.get() < target {
                    ours.write_all(&b"ping"[..]).await.0.expect("it reads");
                    let mut got = 0;
                    while got < 4 {
                        got += ours.recv().await.expect("bytes").expect("not the end").len();
                    }
                    rounds += 1;
                    total.set(total.get() + 1);
                }
                ours.close().await.expect("the first close");
                rounds
            }));
            ringpark::spawn(async move {
                while let Some(lease) = other.recv().await.expect("bytes come") {
                    other.write_all(lease).await.0.expect("it reads");
                }
            });
        }
        let mut rounds = Vec::new();
        for task in tasks {
            rounds.push(task.await.expect("no panic"));
        }
        let average = rounds.iter().sum::<u64>() / connections;
        let slowest = *rounds.iter().min().expect("there are some");
        let fastest = *rounds.iter().max().expect("there are some");
        println!("rounds: slowest {slowest}, average {average}, fastest {fastest}");
        assert!(slowest * FACTOR >= average, "slowest {slowest}, average {average}");
    });
}

/// A dropped write may have sent some of its bytes; the stream goes on.
fn a_dropped_write_leaves_the_stream_usable(variant: &Variant) {
    variant.run(async {
        let mut rng = variant.rng();
        for _ in 0..variant.scale(200).max(10) {
            let (ours, mut plain) = half();
            let pattern = Pattern::new(7);
            let mut checker = pattern.checker();
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                std::io::Read::read_to_end(&mut plain, &mut all).expect("a clean end");
                let marker = all.split_off(all.len() - 4);
                checker.take(&all);
                (checker.offset(), marker)
            });
            let len = rng.usize(1..1_000_000);
            drop(run_for_a_while(&mut rng, ours.write_all(pattern.bytes(0, len))).await);
            send(&ours, b"END.").await;
            ours.close().await.expect("the first close");
            until("the peer has all", || reader.is_finished()).await;
            let (offset, marker) = reader.join().expect("a prefix of what was written");
            assert!(offset <= len as u64 && marker == b"END.", "{offset} of {len}, {marker:?}");
        }
    });
}

/// The memory of a dropped read belongs to the kernel until it has answered. Memory that was freed
/// too early would soon be ours again, and the kernel would write into it.
fn a_buffer_of_a_dropped_read_is_not_freed_under_the_kernel(variant: &Variant) {
    variant.run(async {
        for _ in 0..variant.scale(200) {
            let (ours, mut plain) = half();
            {
                let mut read = pin!(ours.read(Vec::with_capacity(300)));
                start(read.as_mut()).await;
                if fastrand::bool() {
                    ringpark::yield_now().await;
                }
            }
            let mut ours_now: Vec<Vec<u8>> = (0..64).map(|_| vec![0xaa; 300]).collect();
            plain.write_all(&[0x55; 300]).expect("there is room");
            sleep(ms(1)).await;
            assert!(ours_now.iter().flatten().all(|&byte| byte == 0xaa));
            ours_now.clear();
            assert_eq!(receive(&ours, 300).await, [0x55; 300]);
        }
    });
}

/// A future that was never polled has done nothing.
fn operations_dropped_before_they_are_polled_do_nothing(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let (listener, address) = listener().await;
        drop(ours.write_all(b"never".to_vec()));
        drop(ours.read(vec![0; 8]));
        drop(ours.recv());
        drop(ours.shutdown(std::net::Shutdown::Both));
        drop(ours.close());
        drop(listener.accept());
        drop(TcpStream::connect(address));
        send(&ours, b"x").await;
        plain.write_all(b"y").expect("there is room");
        assert_eq!(receive(&ours, 1).await, b"y");
        drop(ours);
        assert_eq!(plain_to_end(plain).await, b"x");
        assert!(timeout(ms(5), listener.accept()).await.is_err(), "nobody has connected");
    });
}

/// A completion that waits to be seen while its future is dropped: the bytes are not lost.
fn completion_and_cancel_in_one_turn_lose_nothing(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let started = Instant::now();
        for round in 0..variant.scale(2000) {
            {
                let mut read = pin!(ours.read(Vec::with_capacity(8)));
                start(read.as_mut()).await;
                if round % 3 == 0 {
                    ringpark::yield_now().await;
                    sleep(Duration::from_micros(50)).await;
                }
                // The bytes arrive while the operation is in flight and this core does not look.
                plain.write_all(&round.to_ne_bytes()).expect("there is room");
            }
            if round % 2 == 0 {
                assert_eq!(promptly("a read", receive(&ours, 8)).await, round.to_ne_bytes());
            } else {
                let mut got = Vec::new();
                while got.len() < 8 {
                    let lease = promptly("a recv", ours.recv()).await.expect("bytes come");
                    got.extend_from_slice(&lease.expect("not the end"));
                }
                assert_eq!(got, round.to_ne_bytes());
            }
        }
        assert!(started.elapsed() < Duration::from_secs(60));
    });
}
