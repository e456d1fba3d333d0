//! Accepting: nothing that happens to one connection, or to the one who waits, loses another.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpSocket, TcpStream};
use ringpark::time::{sleep, timeout};
use ringpark::{Backend, Builder};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "A1" => accept_passes_over_aborted_connections,
    Every: "A2" => ten_tasks_accept_from_one_listener_and_end_on_close,
    Every: "A7" => accept_without_descriptors_backs_off_and_recovers,
    Every: "X2" => dropped_accepts_lose_no_connection,
    Every: "A8" => connections_made_before_accept_are_served,
    Every: "A9" => the_address_of_the_peer_is_told,
    Every: "A9" => a_stream_can_be_accepted_without_its_address,
    Every: "A10" => connections_inherit_nodelay_from_their_listener,
    Every: "A8" => a_burst_of_connections_is_accepted_in_full,
    Every: "A11" => a_listener_of_the_standard_library_can_join,
    Every: "A12" => a_listener_can_be_shared_with_any_other_backend,
    Every: "A9" => a_listener_on_ipv6_accepts,
    Every: "A13" => listening_on_a_taken_address_is_an_error,
];

/// Accept passes over connections that were reset before it came to them.
fn accept_passes_over_aborted_connections(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..variant.scale(100) {
            for _ in 0..3 {
                reset(StdStream::connect(address).expect("the listener listens"));
            }
            let mut real = StdStream::connect(address).expect("the listener listens");
            real.write_all(b"real").expect("there is room");
            let name = real.local_addr().expect("it is connected");
            loop {
                let accepted = promptly("an accept", listener.accept()).await;
                let (stream, peer) = accepted.expect("an aborted connection is nobody's error");
                if peer == name {
                    assert_eq!(receive(&stream, 4).await, b"real");
                    break;
                }
            }
        }
    });
}

/// Ends a connection with RST.
fn reset(stream: StdStream) {
    let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("the option is known");
}

/// Ten tasks accepting on one listener each get connections; all end on close.
fn ten_tasks_accept_from_one_listener_and_end_on_close(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        let listener = Rc::new(listener);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let listener = listener.clone();
                ringpark::spawn(async move {
                    let mut count = 0;
                    loop {
                        match listener.accept().await {
                            Ok((stream, _)) => {
                                count += 1;
                                send(&stream, b"!").await;
                            }
                            Err(error) => {
                                assert!(ringpark::Closed::is(&error), "{error}");
                                return count;
                            }
                        }
                    }
                })
            })
            .collect();
        let total = 50;
        let client = std::thread::spawn(move || {
            for _ in 0..total {
                let mut stream = StdStream::connect(address).expect("the listener listens");
                stream.read_exact(&mut [0]).expect("it is served");
            }
        });
        until("all are served", || client.is_finished()).await;
        client.join().expect("all are served");
        listener.close().await.expect("the first close");
        let mut sum = 0;
        for task in tasks {
            let count = promptly("an accepting task", task).await.expect("it ends on close");
            assert!(count > 0, "who waits longest is next, so all had a turn");
            sum += count;
        }
        assert_eq!(sum, total);
    });
}

/// Out of descriptors accept backs off, uses next to no processor time, says so once, and
/// recovers within a second of descriptors coming free; the connections that wait are served.
fn accept_without_descriptors_backs_off_and_recovers(variant: &Variant) {
    let waiting = 8;
    variant.run(async {
        let (listener, address) = listener().await;
        let limit = sys::descriptor_limit();
        let clients: Vec<_> = (0..waiting)
            .map(|_| StdStream::connect(address).expect("the listener listens"))
            .collect();
        let highest = *sys::descriptors().keys().last().expect("some are open");
        // Holes below the highest number would still be given out.
        let mut fillers = Vec::new();
        loop {
            let file = std::fs::File::open("/dev/null").expect("it exists");
            let number = std::os::fd::AsRawFd::as_raw_fd(&file);
            if number > highest {
                break;
            }
            fillers.push(file);
        }
        sys::set_descriptor_limit(highest as u64 + 1);
        let mut accepted = Vec::new();
        {
            let mut accept = pin!(listener.accept());
            start(accept.as_mut()).await;
            let (used, turns) = (sys::thread_cpu_time(), ringpark::runtime::metrics().turns);
            assert!(timeout(ms(400), accept.as_mut()).await.is_err(), "no descriptor is free");
            let (used, turns) =
                (sys::thread_cpu_time() - used, ringpark::runtime::metrics().turns - turns);
            assert!(used < ms(100), "{used:?} of processor time in 400 ms of waiting");
            assert!(turns < 1000, "{turns} turns in 400 ms of waiting");
            let said = log::lines_with("descriptor");
            assert_eq!(said.len(), 1, "it is said once: {said:?}\n{}", log::text());

            sys::set_descriptor_limit(limit);
            drop(fillers);
            let freed = Instant::now();
            let (stream, _) = promptly("the accept", accept).await.expect("there is room again");
            assert!(freed.elapsed() < PROMPT, "it took {:?}", freed.elapsed());
            accepted.push(stream);
        }
        while accepted.len() < waiting {
            accepted.push(promptly("an accept", listener.accept()).await.expect("it waits").0);
        }
        for stream in &accepted {
            send(stream, b"!").await;
        }
        for mut client in clients {
            client.read_exact(&mut [0]).expect("it is served");
        }
    });
}

/// Many connections while the server drops its accepts at random: none is lost.
fn dropped_accepts_lose_no_connection(variant: &Variant) {
    let total = variant.scale(10_000) as u32;
    variant.run(async {
        let (listener, address) = listener().await;
        // Before the first connection an accept cannot but wait, so that one at least is dropped.
        let mut dropped = 0;
        if poll_once(pin!(listener.accept())).await.is_pending() {
            dropped += 1;
        }
        let client = std::thread::spawn(move || {
            let mut open = Vec::new();
            for number in 0..total {
                let mut stream = StdStream::connect(address).expect("the listener listens");
                stream.write_all(&number.to_ne_bytes()).expect("there is room");
                open.push(stream);
                if open.len() == 64 || number == total - 1 {
                    for mut stream in open.drain(..) {
                        stream.read_exact(&mut [0]).expect("it is served");
                    }
                }
            }
        });
        let mut rng = variant.rng();
        let mut seen = HashSet::new();
        while seen.len() < total as usize {
            let mut accept = pin!(listener.accept());
            let accepted = match rng.u32(0..5) {
                0 => poll_once(accept).await,
                1 => start_or_finish(&mut accept, rng.u32(1..4)).await,
                2 => match timeout(Duration::from_micros(rng.u64(0..300)), accept).await {
                    Ok(result) => std::task::Poll::Ready(result),
                    Err(_) => std::task::Poll::Pending,
                },
                3 => {
                    let polled = poll_once(accept.as_mut()).await;
                    if polled.is_pending() {
                        ringpark::yield_now().await;
                    }
                    polled
                }
                _ => std::task::Poll::Ready(promptly("an accept", accept).await),
            };
            match accepted {
                std::task::Poll::Ready(result) => {
                    let (stream, _) = result.expect("a connection");
                    let bytes = receive(&stream, 4).await;
                    let number = u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
                    assert!(seen.insert(number), "connection {number} came twice");
                    send(&stream, b"!").await;
                }
                std::task::Poll::Pending => dropped += 1,
            }
        }
        until("the client has been served", || client.is_finished()).await;
        client.join().expect("every connection is served");
        assert!(dropped > 0, "no accept was dropped, so nothing was tried");
    });
}

/// Polls a few times with turns of the core in between.
async fn start_or_finish<F: std::future::Future>(
    future: &mut std::pin::Pin<&mut F>,
    polls: u32,
) -> std::task::Poll<F::Output> {
    for _ in 0..polls {
        if let ready @ std::task::Poll::Ready(_) = poll_once(future.as_mut()).await {
            return ready;
        }
        ringpark::yield_now().await;
    }
    std::task::Poll::Pending
}

/// Connections made before anybody accepts are served.
fn connections_made_before_accept_are_served(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        let mut clients: Vec<_> =
            (0..20).map(|_| StdStream::connect(address).expect("the listener listens")).collect();
        for _ in 0..clients.len() {
            let (stream, _) = promptly("an accept", listener.accept()).await.expect("one waits");
            send(&stream, b"!").await;
        }
        for client in &mut clients {
            client.read_exact(&mut [0]).expect("it is served");
        }
    });
}

/// Accept tells the address of the peer.
fn the_address_of_the_peer_is_told(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..5 {
            let client = StdStream::connect(address).expect("the listener listens");
            let (stream, peer) = listener.accept().await.expect("one waits");
            assert_eq!(peer, client.local_addr().expect("it is connected"));
            assert_eq!(stream.peer_addr().expect("it is connected"), peer);
            assert_eq!(stream.local_addr().expect("it is connected"), address);
        }
    });
}

/// Who does not need the address gets the stream, which tells it later. A connection that was reset
/// before is passed over, or given and fails; it hurts no other.
fn a_stream_can_be_accepted_without_its_address(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..5 {
            reset(StdStream::connect(address).expect("the listener listens"));
            let mut client = StdStream::connect(address).expect("the listener listens");
            client.write_all(b"real").expect("there is room");
            loop {
                let stream = promptly("an accept", listener.accept_stream()).await.expect("waits");
                let read = promptly("a read", stream.read_exact(Vec::with_capacity(4))).await;
                if let (Ok(()), bytes) = read {
                    assert_eq!(bytes, b"real");
                    let name = client.local_addr().expect("it is connected");
                    assert_eq!(stream.peer_addr().expect("it is connected"), name);
                    break;
                }
                assert_kind(read.0, std::io::ErrorKind::ConnectionReset);
            }
        }
        {
            let mut accept = pin!(listener.accept_stream());
            start(accept.as_mut()).await;
        }
        let _client = StdStream::connect(address).expect("the listener listens");
        promptly("an accept", listener.accept_stream()).await.expect("it is not lost");
        listener.close().await.expect("the first close");
        assert_closed(listener.accept_stream().await);
    });
}

/// What is set on the listener need not be set on each connection.
fn connections_inherit_nodelay_from_their_listener(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for on in [true, false] {
            listener.set_nodelay(on).expect("the option is known");
            let _client = StdStream::connect(address).expect("the listener listens");
            let stream = promptly("an accept", listener.accept_stream()).await.expect("waits");
            assert_eq!(stream.nodelay().expect("the option is known"), on);
        }
        listener.close().await.expect("the first close");
        assert_closed(listener.set_nodelay(true));
    });
}

/// More connections than fit into any queue of ours are all accepted.
fn a_burst_of_connections_is_accepted_in_full(variant: &Variant) {
    let total = affordable(variant.scale(2000).max(200), 2) as usize;
    variant.run(async {
        let socket = TcpSocket::new_v4().await.expect("a socket");
        socket.set_reuseaddr(true).expect("the option is known");
        socket.bind(ANY).expect("a port on loopback");
        let listener = socket.listen(4096).expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        {
            let mut accept = pin!(listener.accept());
            start(accept.as_mut()).await;
        }
        let clients: Vec<_> =
            (0..total).map(|_| StdStream::connect(address).expect("there is room")).collect();
        let mut accepted = HashSet::new();
        while accepted.len() < total {
            let (_stream, peer) = promptly("an accept", listener.accept()).await.expect("waits");
            assert!(accepted.insert(peer), "{peer} came twice");
        }
        let names: HashSet<SocketAddr> =
            clients.iter().map(|client| client.local_addr().expect("it is connected")).collect();
        assert_eq!(names, accepted);
    });
}

/// A listener that was made elsewhere joins as it is.
fn a_listener_of_the_standard_library_can_join(variant: &Variant) {
    variant.run(async {
        for nonblocking in [false, true] {
            let plain = std::net::TcpListener::bind(ANY).expect("a port on loopback");
            plain.set_nonblocking(nonblocking).expect("the option is known");
            let address = plain.local_addr().expect("it is bound");
            let listener = TcpListener::from_std(plain).expect("a listener can join");
            let mut accept = pin!(listener.accept());
            start(accept.as_mut()).await;
            sleep(ms(2)).await;
            start(accept.as_mut()).await;
            let _client = StdStream::connect(address).expect("the listener listens");
            promptly("the accept", accept).await.expect("one waits");
        }
    });
}

/// A new process takes over the socket of an old one, which has another backend and then stops: none
/// of them waits in accept(2), nor asks for ever.
fn a_listener_can_be_shared_with_any_other_backend(variant: &Variant) {
    for &other in Backend::SUPPORTED {
        if Builder::new().backend(other).block_on(async {}).is_err() {
            continue;
        }
        let shared = StdListener::bind(ANY).expect("a listener on loopback");
        let address = shared.local_addr().expect("it is bound");
        let theirs = shared.try_clone().expect("a descriptor is free");
        variant.run(async {
            let ours = Rc::new(TcpListener::from_std(shared).expect("a listener can join"));
            let here = ringpark::spawn(answer_all(ours.clone()));
            let (has_joined, joined) = mpsc::channel();
            let there = std::thread::spawn(move || {
                Builder::new().backend(other).block_on(async {
                    let listener = TcpListener::from_std(theirs).expect("a listener can join");
                    has_joined.send(()).expect("the test still waits");
                    answer_all(Rc::new(listener)).await;
                })
            });
            ringpark::spawn_blocking(move || joined.recv())
                .await
                .expect("no panic")
                .expect("the other one has started");
            for _ in 0..20 {
                ask(address, b"x").await;
            }
            let turns = ringpark::runtime::metrics().turns;
            sleep(ms(30)).await;
            let turns = ringpark::runtime::metrics().turns - turns;
            assert!(turns < 500, "{turns} turns while nobody connects");
            promptly("the stop", ours.stop()).await.expect("it is open");
            promptly("the last accept", here).await.expect("no panic");
            ask(address, b"e").await;
            there.join().expect("no panic").expect("it starts");
        });
    }
}

/// Answers everybody with what he says, until the listener is stopped or somebody says `e`.
async fn answer_all(listener: Rc<TcpListener>) {
    while let Ok(stream) = listener.accept_stream().await {
        let said = receive(&stream, 1).await;
        send(&stream, &said).await;
        if said == b"e" {
            return;
        }
    }
}

/// Connects and says something, to whoever accepts.
async fn ask(address: SocketAddr, what: &[u8]) {
    let stream = promptly("a connect", TcpStream::connect(address)).await.expect("they listen");
    send(&stream, what).await;
    assert_eq!(receive(&stream, 1).await, what);
}

/// IPv6 works like IPv4.
fn a_listener_on_ipv6_accepts(variant: &Variant) {
    variant.run(async {
        let listener = TcpListener::bind("[::1]:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let mut client = StdStream::connect(address).expect("the listener listens");
        let (stream, peer) = promptly("the accept", listener.accept()).await.expect("one waits");
        assert!(peer.is_ipv6() && stream.local_addr().expect("it is connected") == address);
        send(&stream, b"!").await;
        client.read_exact(&mut [0]).expect("it is served");
    });
}

/// A port in use is an error that says so.
fn listening_on_a_taken_address_is_an_error(variant: &Variant) {
    variant.run(async {
        let (_first, address) = listener().await;
        let second = TcpListener::bind(address).await;
        assert_kind(second.map(drop), std::io::ErrorKind::AddrInUse);
    });
}
