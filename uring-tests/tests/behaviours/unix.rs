//! Unix sockets: connections, and descriptors that go along with their bytes.

use std::future::IntoFuture;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use ringpark::net::{UnixListener, UnixMessage, UnixStream};
use ringpark::time::timeout;
use socket2::SockRef;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "U1" => unix_connections_echo_by_path,
    Every: "U1" => abstract_addresses_need_no_path,
    Every: "C1" => a_unix_listener_wakes_on_close_and_deadline,
    Every: "X2" => dropped_unix_accepts_lose_no_connection,
    Every: "U1" => unix_streams_read_in_every_way,
    Every: "R12" => halves_of_a_unix_stream,
    Every: "A14" => connecting_waits_for_a_full_unix_listener,
    Every: "A6" => connecting_to_no_unix_listener_fails_at_once,
    Every: "U2" => descriptors_go_along_with_bytes,
    Every: "U2" => descriptors_stay_with_their_bytes,
    Every: "X3" => descriptors_of_a_dropped_receive_go_to_the_next,
    Every: "U3" => descriptors_that_nobody_takes_are_closed,
    Every: "U3" => too_many_descriptors_are_one_clear_error,
    Every: "U2" => a_large_message_with_descriptors_goes_on,
    Every: "U4" => a_unix_peer_tells_who_it_is,
];

/// Those that hold whatever path the bytes take.
pub const BY_EACH_PATH: &[Behaviour] = relays![
    Every: "S1" => relay_joins_streams_of_two_kinds,
];

/// An abstract address that no other trial has.
pub fn address(name: &str) -> SocketAddr {
    let name = format!("ringpark-tests-{}-{name}", std::process::id());
    SocketAddr::from_abstract_name(name).expect("it is short")
}

/// A connection, one end ours and the other plain; the plain one never waits for ever.
pub fn unix_half() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (ours, plain) = std::os::unix::net::UnixStream::pair().expect("a pair");
    plain.set_read_timeout(Some(HOUR / 120)).expect("the option is known");
    plain.set_write_timeout(Some(HOUR / 120)).expect("the option is known");
    (UnixStream::from_std(ours).expect("a stream can join"), plain)
}

/// Connections by path: many at once, with the addresses right, and `AddrInUse` told.
fn unix_connections_echo_by_path(variant: &Variant) {
    let connections = variant.scale(200).max(20);
    let place = Place::new();
    let path = place.path("socket");
    variant.run(async {
        let listener = UnixListener::bind(&path).await.expect("the path is free");
        assert_kind(UnixListener::bind(&path).await, ErrorKind::AddrInUse);
        let bound = listener.local_addr().expect("it is bound");
        assert_eq!(bound.as_pathname(), Some(path.as_path()));
        let kind = listener.with_fd(|fd| SockRef::from(&fd).is_listener());
        assert!(kind.expect("it is open").expect("the option is known"));
        let server = ringpark::spawn(async move {
            for _ in 0..connections {
                let (stream, from) = listener.accept().await.expect("one comes");
                assert!(from.is_unnamed());
                ringpark::spawn(async move {
                    while let Some(lease) = stream.recv().await.expect("bytes come") {
                        stream.write_all(lease).await.0.expect("it reads");
                    }
                });
            }
            listener.close().await.expect("the first close");
        });
        let clients: Vec<_> = (0..connections)
            .map(|number| {
                let path = path.clone();
                ringpark::spawn(async move {
                    let stream = UnixStream::connect(&path).await.expect("it listens");
                    let there = stream.peer_addr().expect("it is connected");
                    assert_eq!(there.as_pathname(), Some(path.as_path()));
                    let message = Pattern::small(number).bytes(0, 5000);
                    stream.write_all(message.clone()).await.0.expect("it reads");
                    stream.shutdown(Shutdown::Write).await.expect("it is connected");
                    let mut echo = Vec::new();
                    while let Some(lease) = stream.recv().await.expect("bytes come") {
                        echo.extend_from_slice(&lease);
                    }
                    assert!(echo == message);
                })
            })
            .collect();
        for client in clients {
            promptly("a client", client).await.expect("its own bytes");
        }
        promptly("the server", server).await.expect("no panic");
        assert_kind(UnixStream::connect(&path).await, ErrorKind::ConnectionRefused);
    });
}

/// Abstract addresses: nothing is left of them when the listener is gone.
fn abstract_addresses_need_no_path(variant: &Variant) {
    variant.run(async {
        for round in 0..3 {
            let listener = UnixListener::bind_addr(&address("x")).await.expect("it is free");
            let bound = listener.local_addr().expect("it is bound");
            assert_eq!(bound.as_abstract_name(), address("x").as_abstract_name());
            let client = UnixStream::connect_addr(&address("x")).await.expect("it listens");
            let server = promptly("an accept", listener.accept_stream()).await.expect("one comes");
            client.write_all(vec![round; 3]).await.0.expect("it reads");
            let lease = server.recv().await.expect("bytes").expect("not the end");
            assert_eq!(lease[0], round);
            listener.close().await.expect("the first close");
            assert_kind(
                UnixStream::connect_addr(&address("x")).await,
                ErrorKind::ConnectionRefused,
            );
        }
    });
}

/// A listener: deadline, close, and calls after it.
fn a_unix_listener_wakes_on_close_and_deadline(variant: &Variant) {
    variant.run(async {
        let listener = UnixListener::bind_addr(&address("x")).await.expect("it is free");
        listener.set_accept_deadline(Some(std::time::Instant::now() + ms(10)));
        assert_timed_out(promptly("an accept", listener.accept()).await);
        listener.set_accept_deadline(None);
        let listener = Rc::new(listener);
        let mut accept = pin!(listener.accept());
        start(accept.as_mut()).await;
        let closing = listener.clone();
        let closer = ringpark::spawn(async move { closing.close().await });
        assert_closed(promptly("the accept", accept).await);
        closer.await.expect("no panic").expect("the first close");
        assert_closed(listener.accept().await);
        assert_closed(listener.local_addr());
    });
}

/// What comes for an accept that was dropped goes to the next.
fn dropped_unix_accepts_lose_no_connection(variant: &Variant) {
    let count = variant.scale(300).max(30);
    variant.run(async {
        let listener = UnixListener::bind_addr(&address("x")).await.expect("it is free");
        let client = ringpark::spawn(async move {
            for number in 0..count {
                let stream = UnixStream::connect_addr(&address("x")).await.expect("it listens");
                stream.write_all(number.to_ne_bytes().to_vec()).await.0.expect("it reads");
            }
        });
        let mut rng = variant.rng();
        let mut next = 0;
        while next < count {
            let accepted = match rng.bool() {
                true => match timeout(ms(rng.u64(0..2)), listener.accept()).await {
                    Ok(accepted) => accepted,
                    Err(_) => continue,
                },
                false => promptly("an accept", listener.accept()).await,
            };
            let (stream, _) = accepted.expect("one comes");
            let (result, bytes) = stream.read_exact(Vec::with_capacity(8)).await;
            result.expect("the bytes come");
            assert_eq!(u64::from_ne_bytes(bytes.try_into().expect("eight")), next, "in order");
            next += 1;
        }
        promptly("the client", client).await.expect("no panic");
    });
}

/// All ways of reading, the end of the stream, and a reset told as an error.
fn unix_streams_read_in_every_way(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = unix_half();
        {
            let mut recv = pin!(ours.recv());
            start(recv.as_mut()).await;
        }
        plain.write_all(b"0123456789").expect("there is room");
        let (result, bytes) = promptly("a peek", ours.peek(Vec::with_capacity(2))).await;
        assert!(result.expect("bytes") > 0 && b"01".starts_with(&bytes));
        let (result, bytes) = ours.read_exact(Vec::with_capacity(4)).await;
        result.expect("the bytes come");
        assert_eq!(bytes, b"0123");
        let mut rest = Vec::new();
        while rest.len() < 6 {
            let lease = promptly("a recv", ours.recv()).await.expect("bytes");
            rest.extend_from_slice(&lease.expect("not the end"));
        }
        assert_eq!(rest, b"456789");
        ours.write_vectored_all(vec!["a", "b"]).await.0.expect("it reads");
        plain.read_exact(&mut [0; 2]).expect("the bytes come");
        drop(plain);
        assert!(promptly("a recv", ours.recv()).await.expect("a clean end").is_none());
        let (result, _) = ours.write_all("x").await;
        assert_kind(result, ErrorKind::BrokenPipe);
        ours.close().await.expect("the first close");
        assert_closed(ours.recv().await);
    });
}

/// Owned halves end like those of TCP.
fn halves_of_a_unix_stream(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = unix_half();
        let (reader, writer) = ours.into_split();
        writer.write_all("all").await.0.expect("it reads");
        drop(writer);
        let mut all = Vec::new();
        plain.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all, b"all");
        plain.write_all(b"late").expect("there is room");
        let (result, bytes) = reader.read_exact(Vec::with_capacity(4)).await;
        result.expect("the bytes come");
        assert_eq!(bytes, b"late");
    });
}

/// While the listener's queue is full a connect waits; when it is dropped, nothing is left.
fn connecting_waits_for_a_full_unix_listener(variant: &Variant) {
    variant.run(async {
        let domain = socket2::Domain::UNIX;
        let listener = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        let name = format!("\0ringpark-tests-{}-x", std::process::id());
        listener.bind(&socket2::SockAddr::unix(name).expect("it is short")).expect("it is free");
        listener.listen(0).expect("it is bound");
        let mut connected = Vec::new();
        loop {
            match timeout(ms(50), UnixStream::connect_addr(&address("x"))).await {
                Ok(stream) => connected.push(stream.expect("it listens")),
                Err(_) => break,
            }
            assert!(connected.len() < 16, "a queue of nothing takes no end of connections");
        }
        let there = address("x");
        let mut connect = pin!(UnixStream::connect_addr(&there));
        start(connect.as_mut()).await;
        drop(listener.accept().expect("one waits"));
        promptly("the connect", connect).await.expect("there is room");
    });
}

/// Nobody listens, or there is no such path: told at once.
fn connecting_to_no_unix_listener_fails_at_once(variant: &Variant) {
    let place = Place::new();
    variant.run(async {
        let missing = promptly("a connect", UnixStream::connect(place.path("nothing"))).await;
        assert_kind(missing, ErrorKind::NotFound);
        let refused = promptly("a connect", UnixStream::connect_addr(&address("nothing"))).await;
        assert_kind(refused, ErrorKind::ConnectionRefused);
        let long = place.path(&"x".repeat(200));
        assert_kind(UnixStream::connect(long).await, ErrorKind::InvalidInput);
    });
}

/// A pipe, and a check that what arrived is its writing end.
pub struct Passed {
    reader: std::fs::File,
    writer: Option<OwnedFd>,
}

impl Passed {
    pub fn new() -> Passed {
        let (reader, writer) = pipe();
        Passed { reader: reader.into(), writer: Some(writer) }
    }

    pub fn take(&mut self) -> OwnedFd {
        self.writer.take().expect("it goes once")
    }

    /// `fd` writes to this pipe, is the only one that does, and is close-on-exec.
    pub fn check(mut self, fd: OwnedFd) {
        // SAFETY: F_GETFD takes no pointer.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        std::fs::File::from(fd).write_all(b"through").expect("the pipe is open");
        let mut all = Vec::new();
        self.reader.read_to_end(&mut all).expect("no other writer is left");
        assert_eq!(all, b"through");
    }
}

async fn recv_fds(stream: &UnixStream, room: usize) -> (UnixMessage, Vec<u8>) {
    let receive = stream.recv_fds(Vec::with_capacity(room));
    let (received, bytes) = promptly("a receive", receive).await;
    (received.expect("a message"), bytes)
}

/// One descriptor, and the most that can go.
fn descriptors_go_along_with_bytes(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        let mut passed = Passed::new();
        one.send_fds("here", vec![passed.take()]).await.0.expect("it reads");
        let (message, bytes) = recv_fds(&other, 64).await;
        assert!(message.len > 0 && b"here".starts_with(&bytes[..message.len]));
        assert!(!message.fds_lost && !message.truncated && message.from.is_none());
        let [fd] = <[OwnedFd; 1]>::try_from(message.fds).expect("one came");
        passed.check(fd);
        // Faults cut a message into pieces: the rest of it.
        let mut rest = 4 - message.len;
        while rest > 0 {
            rest -= recv_fds(&other, 64).await.0.len;
        }

        let many = (0..253).map(|_| std::fs::File::open("/dev/null").expect("it is there").into());
        one.send_fds("m", many.collect()).await.0.expect("it reads");
        let (message, bytes) = recv_fds(&other, 64).await;
        assert_eq!((&bytes[..], message.fds.len()), (&b"m"[..], 253));
        drop(one);
        assert_eq!(recv_fds(&other, 64).await.0.len, 0, "the end");
    });
}

/// Two messages with descriptors are never mixed, whatever room there is.
fn descriptors_stay_with_their_bytes(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        let mut passed: Vec<Passed> = (0..3).map(|_| Passed::new()).collect();
        for (number, passed) in passed.iter_mut().enumerate() {
            let byte = vec![number as u8];
            one.send_fds(byte, vec![passed.take()]).await.0.expect("it reads");
        }
        for (number, passed) in passed.into_iter().enumerate() {
            let (message, bytes) = recv_fds(&other, 64).await;
            assert_eq!(bytes, [number as u8]);
            passed.check(message.fds.into_iter().next().expect("one came"));
        }
    });
}

/// A receive is dropped while the message comes: the next gets the bytes and the descriptor.
fn descriptors_of_a_dropped_receive_go_to_the_next(variant: &Variant) {
    let rounds = variant.scale(500).max(40);
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        for round in 0..rounds {
            let mut passed = Passed::new();
            {
                let mut receive = pin!(other.recv_fds(Vec::with_capacity(8)));
                start(receive.as_mut()).await;
                if round % 3 == 0 {
                    // A turn for the kernel to see it.
                    ringpark::yield_now().await;
                    start(receive.as_mut()).await;
                }
                let fds = vec![passed.take()];
                one.send_fds(vec![round as u8], fds).await.0.expect("there is room");
            }
            let (message, bytes) = recv_fds(&other, 8).await;
            assert_eq!(bytes, [round as u8]);
            passed.check(message.fds.into_iter().next().expect("one came"));
        }
    });
}

/// Bytes read without asking for descriptors, and a stream dropped with some waiting: nothing leaks.
/// (The harness counts.)
fn descriptors_that_nobody_takes_are_closed(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (mut read, mut left, mut dropped) = (Passed::new(), Passed::new(), Passed::new());
        one.send_fds("r", vec![read.take()]).await.0.expect("there is room");
        let (result, bytes) = other.read(Vec::with_capacity(8)).await;
        assert_eq!((result.expect("a byte"), &bytes[..]), (1, &b"r"[..]));
        {
            let mut receive = pin!(other.recv_fds(Vec::with_capacity(8)));
            start(receive.as_mut()).await;
            one.send_fds("d", vec![dropped.take()]).await.0.expect("there is room");
        }
        let (result, bytes) = promptly("a read", other.read(Vec::with_capacity(8))).await;
        assert_eq!((result.expect("a byte"), &bytes[..]), (1, &b"d"[..]));
        one.send_fds("l", vec![left.take()]).await.0.expect("there is room");
        drop((one, other));
        for mut passed in [read, left, dropped] {
            let ended = std::thread::spawn(move || {
                let mut all = Vec::new();
                passed.reader.read_to_end(&mut all).expect("no writer is left");
                all
            });
            until("the last writer is closed", || ended.is_finished()).await;
            assert!(ended.join().expect("a clean end").is_empty());
        }
    });
}

/// More than can go, or none of the bytes that they go beside.
fn too_many_descriptors_are_one_clear_error(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        let open = || std::fs::File::open("/dev/null").expect("it is there").into();
        let many = (0..254).map(|_| open()).collect();
        let error = one.send_fds("x", many).await.0.expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("253"), "{error}");
        let error = one.send_fds("", vec![open()]).await.0.expect_err("no bytes");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        one.send_fds("none", vec![]).await.0.expect("that is just bytes");
        let (message, _) = recv_fds(&other, 1).await;
        assert!(message.fds.is_empty());
    });
}

/// More bytes than fit at once: the descriptors go with the first, and all bytes arrive.
fn a_large_message_with_descriptors_goes_on(variant: &Variant) {
    let size = variant.scale(4 << 20).max(1 << 20) as usize;
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        let pattern = Pattern::small(7);
        let mut passed = Passed::new();
        let (bytes, fds) = (pattern.bytes(0, size), vec![passed.take()]);
        let sender = ringpark::spawn(async move { one.send_fds(bytes, fds).await.0 });
        let (message, mut all) = recv_fds(&other, 100).await;
        while all.len() < size {
            let lease = promptly("a recv", other.recv()).await.expect("bytes");
            all.extend_from_slice(&lease.expect("not the end"));
        }
        assert!(all == pattern.bytes(0, size));
        promptly("the sender", sender).await.expect("no panic").expect("all went");
        passed.check(message.fds.into_iter().next().expect("one came"));
    });
}

/// SO_PEERCRED.
fn a_unix_peer_tells_who_it_is(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = unix_half();
        let who = ours.peer_cred().expect("it is connected");
        assert_eq!(who.pid, std::process::id() as i32);
        // SAFETY: these calls have no arguments.
        assert_eq!((who.uid, who.gid), unsafe { (libc::geteuid(), libc::getegid()) });
    });
}

/// A relay between TCP and a Unix stream, both ways at once, and its ends.
fn relay_joins_streams_of_two_kinds(variant: &Variant) {
    let size = variant.scale(8 << 20).max(300_000) as usize;
    variant.run(async {
        let (tcp, tcp_peer) = half();
        let (unix, unix_peer) = unix_half();
        let (up, down) = (Pattern::small(1).bytes(0, size), Pattern::small(2).bytes(0, size / 2));
        let write =
            |mut stream: Box<dyn Write + Send>, bytes: Vec<u8>, end: Box<dyn FnOnce() + Send>| {
                std::thread::spawn(move || {
                    stream.write_all(&bytes).expect("it is carried");
                    end();
                })
            };
        let read = |mut stream: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).expect("a clean end");
                all
            })
        };
        let (one, other) =
            (tcp_peer.try_clone().expect("room"), unix_peer.try_clone().expect("room"));
        let (tcp_end, unix_end) =
            (tcp_peer.try_clone().expect("room"), unix_peer.try_clone().expect("room"));
        let writers = [
            write(
                Box::new(one),
                up.clone(),
                Box::new(move || {
                    tcp_end.shutdown(Shutdown::Write).expect("it is connected");
                }),
            ),
            write(
                Box::new(other),
                down.clone(),
                Box::new(move || {
                    unix_end.shutdown(Shutdown::Write).expect("it is connected");
                }),
            ),
        ];
        let readers = [read(Box::new(unix_peer)), read(Box::new(tcp_peer))];
        let carried = promptly("the relay", relay(&tcp, &unix).into_future()).await;
        let carried = carried.expect("clean ends");
        assert_eq!((carried.a_to_b, carried.b_to_a), (size as u64, size as u64 / 2));
        drop((tcp, unix));
        for writer in writers {
            writer.join().expect("it was carried");
        }
        let [up_there, down_there] = readers.map(|reader| reader.join().expect("a clean end"));
        assert!(up_there == up && down_there == down);
    });
}
