//! Connections that change their core, and acceptors that choose it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use ringpark::net::{Handoff, TcpListener, TcpStream};
use ringpark::runtime::{Accept, CoreHandle};
use ringpark::spawn_on;
use ringpark::time::{sleep, timeout};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z3" => a_stream_moves_to_another_core_with_its_unread_bytes,
    Every: "Z3" => a_numbered_stream_survives_a_hundred_moves_between_cores,
    Every: "Z3" => the_end_of_a_stream_and_its_reset_move_along,
    Every: "Z3" => deadlines_move_along,
    Every: "Z3" => a_reunited_stream_can_be_handed_over,
    Every: "Z11" => a_handoff_that_is_dropped_closes_the_connection,
    Every: "Z11" => a_handoff_whose_core_refuses_it_closes_the_connection,
    Every: "Z6" => one_acceptor_spreads_connections_by_load,
    Every: "Z6" => the_acceptor_that_closes_is_succeeded_and_loses_nothing,
    Every: "Z6" => a_distributed_address_is_free_after_the_last_close,
    Every: "Z5" => a_stopped_listener_serves_whom_it_has_let_in,
    Every: "Z5" => a_stop_ends_accepts_that_wait,
];

/// Echoes on the core `there` until the end of the stream, from a handoff.
fn echo_there(there: &CoreHandle, handoff: Handoff) -> ringpark::runtime::RemoteHandle<Vec<u8>> {
    spawn_on(there, move || async move {
        let stream = handoff.adopt();
        let all = read_to_end(&stream).await.expect("a clean end");
        send(&stream, &all).await;
        all
    })
}

/// Bytes that one core has received are read on the other, before those that come later.
fn a_stream_moves_to_another_core_with_its_unread_bytes(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = half();
        plain.write_all(b"first, ").expect("room");
        wait_buffered(&ours, 7);
        // Received, looked at, partly read, and a read that was given up.
        let (result, bytes) = ours.peek(Vec::with_capacity(3)).await;
        assert!(result.expect("bytes are there") > 0 && b"fir".starts_with(&bytes[..]));
        let lease = ours.recv().await.expect("bytes are there").expect("no end");
        assert!(b"first, ".starts_with(&lease[..]));
        let read = lease.len();
        drop(lease);
        drop(timeout(ms(5), ours.recv()).await);
        plain.write_all(b"second, ").expect("room");
        sleep(ms(2)).await;
        let handoff = promptly("the handoff", ours.into_handoff()).await.expect("it is quiet");
        let task = echo_there(&other, handoff);
        plain.write_all(b"third").expect("room");
        plain.shutdown(Shutdown::Write).expect("it is open");
        let there = promptly("the echo", task).await.expect("no panic");
        assert_eq!(there, b"first, second, third"[read..]);
        assert_eq!(plain_to_end(plain).await, there);
    });
}

/// A stream goes back and forth between cores while its client sends: no gap, no repeat.
fn a_numbered_stream_survives_a_hundred_moves_between_cores(variant: &Variant) {
    const BYTES: usize = 1 << 20;
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = half();
        let writer = std::thread::spawn(move || {
            let (pattern, mut sent) = (Pattern::new(7), 0);
            while sent < BYTES {
                let len = fastrand::usize(1..20_000).min(BYTES - sent);
                plain.write_all(&pattern.chunk(sent as u64, len)).expect("somebody reads");
                sent += len;
            }
        });
        let mut checker = Pattern::new(7).checker();
        let mut handoff = ours.into_handoff().await.expect("it is quiet");
        let cores = [CoreHandle::current(), other];
        let mut received = 0;
        for number in 0.. {
            let there = spawn_on(&cores[number % 2], move || async move {
                let stream = handoff.adopt();
                let mut bytes = Vec::new();
                if number < 100 {
                    for _ in 0..fastrand::usize(0..4) {
                        // Some reads are given up before they have anything.
                        if let Ok(got) = timeout(ms(1), stream.recv()).await {
                            match got.expect("the client writes on") {
                                Some(lease) => bytes.extend_from_slice(&lease),
                                None => break,
                            }
                        }
                    }
                } else {
                    bytes = read_to_end(&stream).await.expect("a clean end");
                }
                (bytes, stream.into_handoff().await.expect("it is quiet"))
            });
            let bytes;
            (bytes, handoff) = promptly("a stage", there).await.expect("no panic");
            received += bytes.len();
            checker.take(&bytes);
            if number >= 100 {
                break;
            }
        }
        assert_eq!(received, BYTES);
        writer.join().expect("no panic");
    });
}

/// What the next read would have said is said on the other core.
fn the_end_of_a_stream_and_its_reset_move_along(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = half();
        plain.write_all(b"last").expect("room");
        drop(plain);
        wait_buffered(&ours, 4);
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let there = spawn_on(&other, move || async move { read_to_end(&handoff.adopt()).await });
        let all = promptly("the end", there).await.expect("no panic").expect("a clean end");
        assert_eq!(all, b"last");

        let (ours, plain) = half();
        // A receive is under way when the reset comes.
        drop(timeout(ms(2), ours.recv()).await);
        socket2::SockRef::from(&plain).set_linger(Some(ms(0))).expect("the option is known");
        drop(plain);
        sleep(ms(2)).await;
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let there = spawn_on(&other, move || async move {
            let stream = handoff.adopt();
            stream.recv().await.map(drop)
        });
        let told = promptly("the reset", there).await.expect("no panic");
        assert_kind(told, ErrorKind::ConnectionReset);
    });
}

/// Deadlines are the connection's, wherever it is served.
fn deadlines_move_along(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, _plain) = half();
        let at = Instant::now() + ms(30);
        ours.set_read_deadline(Some(at));
        ours.set_write_deadline(Some(past()));
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let there = spawn_on(&other, move || async move {
            let stream = handoff.adopt();
            assert_timed_out(stream.write("x").await.0);
            assert_timed_out(stream.recv().await.map(drop));
            assert!(Instant::now() >= at, "too early");
        });
        promptly("the deadlines", there).await.expect("no panic");
    });
}

/// A stream that was split and is whole again is as good as any.
fn a_reunited_stream_can_be_handed_over(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = half();
        let (reader, writer) = ours.into_split();
        let ours = reader.reunite(writer).expect("halves of one stream");
        let there = echo_there(&other, ours.into_handoff().await.expect("it is quiet"));
        plain.write_all(b"whole").expect("room");
        plain.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(promptly("the echo", there).await.expect("no panic"), b"whole");
        assert_eq!(plain_to_end(plain).await, b"whole");
    });
}

/// A token that nobody adopts closes its connection.
fn a_handoff_that_is_dropped_closes_the_connection(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let handoff = ours.into_handoff().await.expect("it is quiet");
        drop(handoff);
        assert_eq!(plain.read(&mut [0]).expect("an orderly end"), 0);
    });
}

/// So does one whose core has ended.
fn a_handoff_whose_core_refuses_it_closes_the_connection(variant: &Variant) {
    let gone = variant.run(async { CoreHandle::current() });
    variant.run(async {
        let (ours, mut plain) = half();
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let refused = spawn_on(&gone, move || async move { drop(handoff.adopt()) });
        assert!(refused.await.expect_err("it has ended").is_refused());
        assert_eq!(plain.read(&mut [0]).expect("an orderly end"), 0);
    });
}

/// A port outside of the range from which the kernel takes those of connections.
pub fn fixed_address() -> std::net::SocketAddr {
    loop {
        let address = std::net::SocketAddr::new(ANY.ip(), fastrand::u16(10_000..30_000));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// With one acceptor for two cores, connections that stay are spread evenly.
fn one_acceptor_spreads_connections_by_load(variant: &Variant) {
    const CLIENTS: usize = 100;
    let address = fixed_address();
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let next = AtomicUsize::new(0);
    let listening = Arc::new(AtomicUsize::new(0));
    let counted = listening.clone();
    let unserved = Arc::new(());
    let held = unserved.clone();
    let clients = std::thread::spawn(move || {
        while counted.load(Ordering::Acquire) < 2 {
            std::thread::yield_now();
        }
        let mut streams: Vec<_> =
            (0..CLIENTS).map(|_| StdStream::connect(address).expect("somebody listens")).collect();
        for stream in &mut streams {
            stream.read_exact(&mut [0]).expect("it is served");
        }
        drop(held);
    });
    let (counts, next, unserved) = (&counts, &next, &unserved);
    variant
        .builder()
        .cores(2)
        .accept(Accept::ByLoad)
        .run(|| {
            let listening = listening.clone();
            async move {
                let core = next.fetch_add(1, Ordering::Relaxed);
                let listener = TcpListener::bind(address).await?;
                assert_eq!(listener.local_addr()?, address);
                listening.fetch_add(1, Ordering::Release);
                let sum =
                    || counts.iter().map(|count| count.load(Ordering::Acquire)).sum::<usize>();
                while sum() < CLIENTS {
                    listener.set_accept_deadline(Some(Instant::now() + ms(20)));
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            counts[core].fetch_add(1, Ordering::AcqRel);
                            ringpark::spawn(async move {
                                send(&stream, b"!").await;
                                drop(stream.recv().await);
                            });
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
                while Arc::strong_count(unserved) > 1 {
                    sleep(ms(1)).await;
                }
                Ok(())
            }
        })
        .expect("all end well");
    clients.join().expect("all are served");
    let counts = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(counts.iter().all(|&count| count >= CLIENTS / 5), "not even: {counts:?}");
}

/// When the core that accepts for all closes its listener, another one goes on, and every client
/// is served.
fn the_acceptor_that_closes_is_succeeded_and_loses_nothing(variant: &Variant) {
    let address = fixed_address();
    on_two_cores_of(variant.builder().accept(Accept::ByLoad), |other| async move {
        let served = Arc::new(AtomicUsize::new(0));
        let here = TcpListener::bind(address).await.expect("the port is free");
        let counter = served.clone();
        let listening = Arc::new(AtomicUsize::new(0));
        let counted = listening.clone();
        let there = spawn_on(&other, move || async move {
            let listener = TcpListener::bind(address).await.expect("it is shared");
            counted.fetch_add(1, Ordering::Release);
            while let Ok((stream, _)) = listener.accept().await {
                send(&stream, b"t").await;
                // The others are served by the core that closes.
                if counter.fetch_add(1, Ordering::Relaxed) + 1 == 50 {
                    break;
                }
            }
            listener.close().await.expect("it is open");
        });
        until("the other core listens", || listening.load(Ordering::Acquire) == 1).await;
        let clients = std::thread::spawn(move || {
            let mut served = Vec::new();
            for _ in 0..60 {
                let mut stream = StdStream::connect(address).expect("somebody listens");
                let mut by = [0];
                stream.read_exact(&mut by).expect("it is served");
                served.push(by[0]);
            }
            served
        });
        // This core accepts first, and so is the acceptor.
        for _ in 0..10 {
            let (stream, _) = promptly("a client", here.accept()).await.expect("it listens");
            send(&stream, b"h").await;
        }
        here.close().await.expect("it is open");
        promptly("the other core", there).await.expect("no panic");
        let by = clients.join().expect("all are served");
        assert_eq!(by.iter().filter(|&&by| by == b't').count(), 50, "{by:?}");
        assert_eq!(served.load(Ordering::Relaxed), 50);
    });
}

/// The acceptor's socket goes with the last listener.
fn a_distributed_address_is_free_after_the_last_close(variant: &Variant) {
    let address = fixed_address();
    on_two_cores_of(variant.builder().accept(Accept::ByLoad), |_| async move {
        for _ in 0..10 {
            let listener = TcpListener::bind(address).await.expect("the port is free");
            let client = std::thread::spawn(move || StdStream::connect(address));
            let (stream, _) = promptly("a client", listener.accept()).await.expect("it listens");
            drop(stream);
            listener.close().await.expect("it is open");
            assert_closed(listener.accept().await);
            drop(client.join().expect("no panic"));
        }
        // Dropped without a close it goes a moment later.
        let listener = TcpListener::bind(address).await.expect("the port is free");
        drop(timeout(ms(2), listener.accept()).await);
        drop(listener);
        until("the port is free", || std::net::TcpListener::bind(address).is_ok()).await;
    });
}

/// After a stop, those whom the kernel had let in are served; then it is over.
fn a_stopped_listener_serves_whom_it_has_let_in(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        // One accept, so that on a ring connections are taken ahead.
        let mut clients = vec![StdStream::connect(address).expect("somebody listens")];
        drop(listener.accept().await.expect("one waits"));
        for _ in 0..20 {
            clients.push(StdStream::connect(address).expect("somebody listens"));
            if fastrand::bool() {
                sleep(ms(1)).await;
            }
        }
        promptly("the stop", listener.stop()).await.expect("it is open");
        for _ in 0..20 {
            let (stream, _) = promptly("one let in", listener.accept()).await.expect("let in");
            send(&stream, b"!").await;
        }
        assert_closed(listener.accept().await);
        listener.stop().await.expect("twice is as good as once");
        for client in &mut clients[1..] {
            client.read_exact(&mut [0]).expect("it is served");
        }
        listener.close().await.expect("it is open");
        assert_closed(listener.stop().await);
    });
}

/// Accepts that wait are told of the stop.
fn a_stop_ends_accepts_that_wait(variant: &Variant) {
    variant.run(async {
        let (listener, _) = listener().await;
        let listener = std::rc::Rc::new(listener);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let listener = listener.clone();
                ringpark::spawn(async move { listener.accept().await.map(drop) })
            })
            .collect();
        sleep(ms(2)).await;
        listener.stop().await.expect("it is open");
        for task in tasks {
            assert_closed(promptly("an accept", task).await.expect("no panic"));
        }
        drop(TcpStream::connect(listener.local_addr().expect("it is open")).await);
    });
}
