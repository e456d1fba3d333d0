//! Connecting: what is reported as connected is connected, and what is given up leaves nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringpark::net::{lookup_host, TcpListener, TcpSocket, TcpStream};
use ringpark::time::{sleep, timeout};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "A3" => connects_with_short_timeouts_report_only_real_connections,
    Every: "A4" => cancelled_connects_to_a_closed_port_never_succeed,
    Every: "A5" => a_cancel_after_success_leaves_the_connection_alone,
    Every: "A5" => a_cancel_during_connect_leaves_nothing,
    Every: "A6" => connecting_to_a_closed_port_fails_at_once,
    Every: "D11" => connecting_where_nobody_answers_times_out,
    Every: "D11" => a_socket_that_connects_has_a_deadline,
    Every: "D11" => an_absurdly_long_connect_timeout_works,
    Every: "D11" => a_connect_timeout_is_shared_out_over_the_addresses,
    Every: "A14" => a_connect_that_waits_for_the_listener_succeeds_late,
    Every: "A15" => connect_goes_on_to_the_next_address,
    Every: "A15" => a_silent_address_has_the_next_one_tried_beside_it,
    Every: "A16" => names_are_resolved_without_blocking_the_core,
    Every: "A16" => addresses_of_a_name_are_told,
    Every: "A13" => what_cannot_be_resolved_is_an_error_that_names_it,
    Every: "A13" => a_bad_address_is_an_error_and_no_panic,
    Every: "A10" => options_of_a_stream_can_be_set_and_read,
];

/// Of many connects with short time-outs each one reported as connected can be written to.
fn connects_with_short_timeouts_report_only_real_connections(variant: &Variant) {
    let total = variant.scale(10_000);
    let plain = std::net::TcpListener::bind(ANY).expect("a port on loopback");
    let address = plain.local_addr().expect("it is bound");
    let done = Arc::new(AtomicBool::new(false));
    let server = std::thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(Ordering::Acquire) {
                // A connection may be gone before it is accepted.
                drop(plain.accept());
            }
        }
    });
    variant.run(async {
        let workers = 20;
        let tasks: Vec<_> = (0..workers)
            .map(|worker| {
                let mut rng = fastrand::Rng::with_seed(variant.seed() + worker);
                ringpark::spawn(async move {
                    let (mut connected, mut failed) = (0, 0);
                    for _ in 0..total / workers {
                        let limit = Duration::from_micros([0, 1, 100, 2000][rng.usize(0..4)]);
                        match TcpStream::connect_timeout(address, limit).await {
                            Ok(stream) => {
                                // The server closes at once, so only the first write must work.
                                stream.write("real").await.0.expect("it is connected");
                                connected += 1;
                            }
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                                failed += 1;
                            }
                        }
                    }
                    (connected, failed)
                })
            })
            .collect();
        let (mut connected, mut failed) = (0, 0);
        for task in tasks {
            let (yes, no) = task.await.expect("no panic");
            connected += yes;
            failed += no;
        }
        println!("{connected} connected, {failed} timed out");
        assert!(connected > 0 && failed > 0, "{connected} connected, {failed} did not");
    });
    done.store(true, Ordering::Release);
    // The server may have seen it with its last connection, and be gone.
    drop(StdStream::connect(address));
    server.join().expect("the server ends");
}

/// Of many cancelled connects to a closed port none reports success.
fn cancelled_connects_to_a_closed_port_never_succeed(variant: &Variant) {
    let (_holder, address) = closed_port();
    variant.run(async {
        let mut rng = variant.rng();
        let before = sys::descriptors().len();
        let mut refused = 0;
        for _ in 0..variant.scale(10_000) {
            let mut connect = pin!(TcpStream::connect(address));
            for _ in 0..rng.u32(0..4) {
                if let std::task::Poll::Ready(result) = poll_once(connect.as_mut()).await {
                    assert_kind(result.map(drop), ErrorKind::ConnectionRefused);
                    refused += 1;
                    break;
                }
                if rng.bool() {
                    ringpark::yield_now().await;
                }
            }
        }
        variant::drained().await;
        until("the descriptors are free", || sys::descriptors().len() <= before).await;
        println!("{refused} were refused before they were cancelled");
    });
}

/// A cancel after success does not harm the connection.
fn a_cancel_after_success_leaves_the_connection_alone(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..20 {
            let stream = {
                let mut connect = Box::pin(timeout(HOUR, TcpStream::connect(address)));
                let stream = connect.as_mut().await.expect("in time").expect("it listens");
                drop(connect);
                stream
            };
            let (other, _) = promptly("the accept", listener.accept()).await.expect("one waits");
            sleep(ms(1)).await;
            send(&stream, b"ping").await;
            assert_eq!(receive(&other, 4).await, b"ping");
            send(&other, b"pong").await;
            assert_eq!(receive(&stream, 4).await, b"pong");
        }
    });
}

/// A cancel during the connect: an error where somebody asks, and nothing left behind.
fn a_cancel_during_connect_leaves_nothing(variant: &Variant) {
    let stuck = StuckListener::new();
    variant.run(async {
        let before = sys::descriptors().len();
        for round in 0..20 {
            let mut connect = Box::pin(TcpStream::connect(stuck.address));
            start(connect.as_mut()).await;
            if round % 2 == 0 {
                sleep(ms(1)).await;
                start(connect.as_mut()).await;
            }
        }
        assert!(timeout(ms(10), TcpStream::connect(stuck.address)).await.is_err());
        variant::drained().await;
        until("the descriptors are free", || sys::descriptors().len() <= before).await;
    });
}

/// It may be moved while the socket connects, and does not hold for what comes after.
fn a_socket_that_connects_has_a_deadline(variant: &Variant) {
    let stuck = StuckListener::new();
    variant.run(async {
        let socket = TcpSocket::new_v4().await.expect("a socket");
        assert!(sys::is_open(socket.as_raw_fd()));
        socket.set_connect_deadline(Some(Instant::now() + HOUR));
        let mut connect = pin!(socket.connect(stuck.address));
        start(connect.as_mut()).await;
        socket.set_connect_deadline(Some(Instant::now() + ms(10)));
        assert_timed_out(promptly("the connect", connect).await.map(drop));

        let (listener, address) = listener().await;
        let socket = TcpSocket::new_v4().await.expect("a socket");
        socket.set_connect_deadline(Some(Instant::now() + PROMPT));
        let client = socket.connect(address).await.expect("it listens");
        client.write_all("no deadline").await.0.expect("there is room");
        let server = listener.accept_stream().await.expect("it has connected");
        assert_eq!(receive(&server, 11).await, b"no deadline");
    });
}

/// A closed port fails at once, not by time-out.
fn connecting_to_a_closed_port_fails_at_once(variant: &Variant) {
    let (_holder, address) = closed_port();
    variant.run(async {
        let started = Instant::now();
        for _ in 0..10 {
            let result = TcpStream::connect(address).await;
            assert_kind(result.map(drop), ErrorKind::ConnectionRefused);
            let result = TcpStream::connect_timeout(address, HOUR).await;
            assert_kind(result.map(drop), ErrorKind::ConnectionRefused);
            let socket = TcpSocket::new_v4().await.expect("a socket");
            assert_kind(socket.connect(address).await.map(drop), ErrorKind::ConnectionRefused);
        }
        assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    });
}

/// Connect with a time-out.
fn connecting_where_nobody_answers_times_out(variant: &Variant) {
    let stuck = StuckListener::new();
    variant.run(async {
        for limit in [ms(0), ms(1), ms(30)] {
            let started = Instant::now();
            assert_timed_out(TcpStream::connect_timeout(stuck.address, limit).await.map(drop));
            let taken = started.elapsed();
            assert!(taken >= limit && taken < limit + PROMPT, "{limit:?} took {taken:?}");
        }
    });
}

/// An absurdly large time-out is no overflow.
fn an_absurdly_long_connect_timeout_works(variant: &Variant) {
    variant.run(async {
        let (_listener, address) = listener().await;
        for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 2), HOUR * 24 * 365 * 1000] {
            TcpStream::connect_timeout(address, limit).await.expect("the listener listens");
        }
    });
}

/// One time-out for several addresses: the first must not use it up.
fn a_connect_timeout_is_shared_out_over_the_addresses(variant: &Variant) {
    let stuck = StuckListener::new();
    variant.run(async {
        let (_listener, open) = listener().await;
        let total = ms(900);
        let addresses = [stuck.address, stuck.address, open];
        let started = Instant::now();
        let stream = TcpStream::connect_timeout(&addresses[..], total).await.expect("the third");
        assert_eq!(stream.peer_addr().expect("it is connected"), open);
        assert!(started.elapsed() >= ms(10), "the first ones had a chance too");

        let addresses = [stuck.address; 3];
        let total = ms(60);
        let started = Instant::now();
        assert_timed_out(TcpStream::connect_timeout(&addresses[..], total).await.map(drop));
        let taken = started.elapsed();
        assert!(taken >= total && taken < total + PROMPT, "{total:?} took {taken:?}");
    });
}

/// A connect that waits goes through once the listener has room again.
fn a_connect_that_waits_for_the_listener_succeeds_late(variant: &Variant) {
    let mut stuck = StuckListener::new();
    variant.run(async {
        let mut connect = pin!(TcpStream::connect(stuck.address));
        start(connect.as_mut()).await;
        sleep(ms(2)).await;
        start(connect.as_mut()).await;
        stuck.unstick();
        // The kernel tries again a second after its first attempt.
        promptly("the connect", connect).await.expect("there is room now");
    });
}

/// Of several addresses the first that works is taken.
fn connect_goes_on_to_the_next_address(variant: &Variant) {
    let (_holder, closed) = closed_port();
    variant.run(async {
        let (_listener, open) = listener().await;
        let stream = TcpStream::connect(&[closed, closed, open][..]).await.expect("the third");
        assert_eq!(stream.peer_addr().expect("it is connected"), open);
        let result = TcpStream::connect(&[closed, closed][..]).await;
        assert_kind(result.map(drop), ErrorKind::ConnectionRefused);
        assert!(TcpStream::connect(&[][..] as &[SocketAddr]).await.is_err());
    });
}

/// RFC 8305: an address that does not answer keeps nobody waiting, and answers late if it is all there is.
fn a_silent_address_has_the_next_one_tried_beside_it(variant: &Variant) {
    variant.run(async {
        let mut stuck = StuckListener::new();
        let (_listener, open) = listener().await;
        let start = Instant::now();
        let both = [stuck.address, open];
        let connect = TcpStream::connect(&both[..]);
        let stream = promptly("the second", connect).await.expect("it listens");
        assert_eq!(stream.peer_addr().expect("it is connected"), open);
        assert!(start.elapsed() >= ms(250), "the first has its time");
        // The attempt that was beaten has ended: nothing of it comes in when there is room.
        let silent = [stuck.address];
        let mut late = pin!(TcpStream::connect(&silent[..]));
        crate::harness::start(late.as_mut()).await;
        stuck.unstick();
        let stream = promptly("the late one", late).await.expect("it listens");
        assert_eq!(stream.peer_addr().expect("it is connected"), stuck.address);
    });
}

/// A name is resolved while other tasks go on.
fn names_are_resolved_without_blocking_the_core(variant: &Variant) {
    variant.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let connect = ringpark::spawn(async move {
            let by_name = TcpStream::connect(format!("localhost:{port}")).await;
            let by_pair = TcpStream::connect(("localhost", port)).await;
            by_name.and(by_pair)
        });
        for _ in 0..2 {
            promptly("the accept", listener.accept()).await.expect("one comes");
        }
        connect.await.expect("no panic").expect("localhost is known");
    });
}

/// `lookup_host`: names, and what is an address already, in its order; a dropped look-up harms nothing.
fn addresses_of_a_name_are_told(variant: &Variant) {
    variant.run(async {
        let names = [lookup_host("localhost:80").await, lookup_host(("localhost", 80)).await];
        for found in names {
            let found = found.expect("localhost is known");
            assert!(found.len() > 0);
            for address in found {
                assert!(address.ip().is_loopback() && address.port() == 80, "{address}");
            }
        }
        let list: Vec<SocketAddr> = ["10.0.0.2:1", "[::1]:2", "10.0.0.1:3"]
            .map(|it| it.parse().expect("an address"))
            .into();
        let told = lookup_host(&list[..]).await.expect("there is nothing to look up");
        assert_eq!(told.collect::<Vec<_>>(), list);
        drop(poll_once(pin!(lookup_host("localhost:80"))).await);
        // A name beside which the core goes on: this yields as long as the helper thread works.
        let mut lookup = pin!(lookup_host(("localhost", 81)));
        let end = Instant::now() + Duration::from_secs(20);
        let found = loop {
            assert!(Instant::now() < end, "no answer");
            match poll_once(lookup.as_mut()).await {
                Poll::Ready(found) => break found,
                Poll::Pending => ringpark::yield_now().await,
            }
        };
        assert_eq!(found.expect("localhost is known").next().map(|it| it.port()), Some(81));
    });
}

/// An unknown name, an empty one, an empty list.
fn what_cannot_be_resolved_is_an_error_that_names_it(variant: &Variant) {
    variant.run(async {
        // RFC 6761: this one is never there, with or without a name server.
        let unknown = promptly("a look-up", lookup_host("no-such-name.invalid:80")).await;
        let error = unknown.expect_err("there is no such name");
        assert!(error.to_string().contains("no-such-name.invalid"), "{error}");
        for empty in ["", ":80"] {
            assert_kind(lookup_host(empty).await, ErrorKind::InvalidInput);
        }
        assert_kind(lookup_host(("", 80)).await, ErrorKind::InvalidInput);
        assert_kind(lookup_host(Vec::new()).await, ErrorKind::InvalidInput);
    });
}

/// What is no address is an error, never a panic.
fn a_bad_address_is_an_error_and_no_panic(variant: &Variant) {
    variant.run(async {
        for bad in ["", ":", "localhost", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:http", "[::1"]
        {
            let error = TcpStream::connect(bad).await.err().unwrap_or_else(|| panic!("`{bad}`"));
            assert!(!error.to_string().is_empty());
            assert!(TcpListener::bind(bad).await.is_err(), "`{bad}`");
        }
        let unknown = TcpStream::connect("no-such-name.invalid:80").await;
        assert!(unknown.is_err());
    });
}

/// Options are set, read and take effect.
fn options_of_a_stream_can_be_set_and_read(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        let socket = TcpSocket::new_v4().await.expect("a socket");
        socket.bind(ANY).expect("a port on loopback");
        let stream = Rc::new(socket.connect(address).await.expect("the listener listens"));
        let (other, peer) = listener.accept().await.expect("one waits");
        assert_eq!(peer, stream.local_addr().expect("it is connected"));
        for on in [true, false, true] {
            stream.set_nodelay(on).expect("the option is known");
            assert_eq!(stream.nodelay().expect("the option is known"), on);
        }
        assert!(stream.take_error().expect("the option is known").is_none());
        other.set_zero_linger(true).expect("the option is known");
        other.close().await.expect("the first close");
        assert_kind(stream.read(vec![0; 8]).await.0, ErrorKind::ConnectionReset);
    });
}
