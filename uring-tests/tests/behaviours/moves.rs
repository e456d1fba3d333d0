//! Unix streams and listeners that change their core, and handles that are given back to std.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdTcp};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::pin::pin;
use std::time::Instant;

use ringpark::fs::File;
use ringpark::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use ringpark::runtime::{Accept, CoreHandle};
use ringpark::spawn_on;
use ringpark::time::{sleep, timeout};

use crate::harness::*;
use crate::unix::{address, unix_half};

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z3" => a_unix_stream_moves_with_its_unread_bytes,
    Every: "Z3" => descriptors_that_were_received_move_along,
    Every: "Z3" => the_end_and_the_deadlines_of_a_unix_stream_move_along,
    Every: "Z13" => a_tcp_listener_moves_with_whom_it_has_accepted,
    Every: "Z13" => a_unix_listener_moves_with_whom_it_has_accepted,
    Every: "Z13" => a_stopped_listener_is_stopped_on_the_other_core,
    Every: "Z6" | "Z13" => a_listener_that_accepts_by_load_moves_and_loses_nobody,
    Every: "Z11" => handoffs_of_every_kind_close_when_they_are_dropped,
    Every: "Z5" => a_stopped_unix_listener_serves_whom_it_has_let_in,
    Every: "Z5" => a_stop_ends_unix_accepts_that_wait,
    Every: "A18" => a_stream_goes_back_to_std_with_what_was_received_ahead,
    Every: "A18" => a_listener_goes_back_to_std_with_whom_it_has_accepted,
    Every: "A18" | "A19" => a_file_goes_back_to_std_when_its_operations_have_ended,
    Every: "A19" => a_descriptor_is_taken_over_by_its_kind,
];

/// Bytes that one core has received are read on the other, before those that come later.
fn a_unix_stream_moves_with_its_unread_bytes(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = unix_half();
        plain.write_all(b"first, ").expect("room");
        wait_buffered(&ours, 7);
        let lease = ours.recv().await.expect("bytes are there").expect("no end");
        let read = lease.len();
        drop(lease);
        drop(timeout(ms(5), ours.recv()).await);
        plain.write_all(b"second, ").expect("room");
        sleep(ms(2)).await;
        let handoff = promptly("the handoff", ours.into_handoff()).await.expect("it is quiet");
        let task = spawn_on(&other, move || async move { all_of(&handoff.adopt()).await });
        plain.write_all(b"third").expect("room");
        plain.shutdown(Shutdown::Write).expect("it is open");
        let there = promptly("the other core", task).await.expect("no panic");
        assert_eq!(there, b"first, second, third"[read..]);
    });
}

/// Reads a stream to its end.
async fn all_of(stream: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(lease) = stream.recv().await.expect("a clean end") {
        all.extend_from_slice(&lease);
    }
    all
}

/// A message with a descriptor for which a receive was under way, and has been dropped: on a ring it
/// has got the message.
async fn received_with_a_pipe(ours: &UnixStream, sender: &UnixStream) {
    let (_reader, writer) = pipe();
    {
        let mut receive = pin!(ours.recv_fds(Vec::with_capacity(64)));
        start(receive.as_mut()).await;
        // A turn for the kernel to see it.
        ringpark::yield_now().await;
        start(receive.as_mut()).await;
        sender.send_fds("beside", vec![writer]).await.0.expect("room");
    }
    sleep(ms(2)).await;
}

/// Descriptors that came for a receive that was given up are not lost either.
fn descriptors_that_were_received_move_along(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, sender) = UnixStream::pair().expect("a pair");
        received_with_a_pipe(&ours, &sender).await;
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let there = spawn_on(&other, move || async move {
            let (message, bytes) = handoff.adopt().recv_fds(Vec::with_capacity(64)).await;
            (message.expect("it has come").fds.len(), bytes)
        });
        let (fds, bytes) = promptly("the message", there).await.expect("no panic");
        // A read may have been cut short; the descriptor is beside its first byte.
        assert_eq!(fds, 1);
        assert!(!bytes.is_empty() && b"beside".starts_with(&bytes));
    });
}

/// What the next read would have said is said on the other core.
fn the_end_and_the_deadlines_of_a_unix_stream_move_along(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (ours, mut plain) = unix_half();
        plain.write_all(b"last").expect("room");
        drop(plain);
        let handoff = ours.into_handoff().await.expect("it is quiet");
        let there = spawn_on(&other, move || async move { all_of(&handoff.adopt()).await });
        assert_eq!(promptly("the end", there).await.expect("no panic"), b"last");

        let (ours, _plain) = unix_half();
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

/// How many clients a listener of these trials has.
const CLIENTS: usize = 8;

/// Connections that were accepted ahead are given by the other core, and so are later ones.
fn a_tcp_listener_moves_with_whom_it_has_accepted(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let (listener, address) = listener().await;
        let connect = || StdTcp::connect(address).expect("somebody listens");
        // An accept that was given up: on a ring, connections are taken ahead.
        let mut clients = vec![connect()];
        drop(listener.accept_stream().await.expect("one waits"));
        drop(timeout(ms(2), listener.accept_stream()).await);
        clients.extend((1..CLIENTS).map(|_| connect()));
        sleep(ms(5)).await;
        listener.set_accept_deadline(Some(Instant::now() + HOUR));
        let handoff = promptly("the handoff", listener.into_handoff()).await.expect("it is open");
        // It waits in the kernel while the listener belongs to nobody.
        clients.push(connect());
        let there = spawn_on(&other, move || async move {
            let listener = handoff.adopt();
            for _ in 1..=CLIENTS {
                let (stream, _) = listener.accept().await.expect("one waits");
                stream.write_all("!").await.0.expect("the client reads");
            }
            listener.set_accept_deadline(Some(Instant::now() + ms(2)));
            assert_timed_out(listener.accept().await);
            listener.close().await.expect("it is open");
        });
        promptly("the other core", there).await.expect("no panic");
        for client in &mut clients[1..] {
            client.read_exact(&mut [0]).expect("it is served");
        }
    });
}

/// The same by a path.
fn a_unix_listener_moves_with_whom_it_has_accepted(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let address = address(&format!("moves-{}", fastrand::u64(..)));
        let listener = UnixListener::bind_addr(&address).await.expect("the name is free");
        let connect = || StdUnix::connect_addr(&address).expect("somebody listens");
        let mut clients = vec![connect()];
        drop(listener.accept_stream().await.expect("one waits"));
        drop(timeout(ms(2), listener.accept_stream()).await);
        clients.extend((1..CLIENTS).map(|_| connect()));
        sleep(ms(5)).await;
        listener.set_accept_deadline(Some(Instant::now() + ms(50)));
        let handoff = promptly("the handoff", listener.into_handoff()).await.expect("it is open");
        clients.push(connect());
        let there = spawn_on(&other, move || async move {
            let listener = handoff.adopt();
            for _ in 1..=CLIENTS {
                let stream = listener.accept_stream().await.expect("one waits");
                stream.write_all("!").await.0.expect("the client reads");
            }
            // The deadline is that which it had.
            assert_timed_out(listener.accept().await);
        });
        promptly("the other core", there).await.expect("no panic");
        for client in &mut clients[1..] {
            client.read_exact(&mut [0]).expect("it is served");
        }
    });
}

/// It gives whom it had let in, and takes nobody new.
fn a_stopped_listener_is_stopped_on_the_other_core(variant: &Variant) {
    on_two_cores_of(variant.builder().accept(Accept::ByLoad), |other| async move {
        let (listener, address) = listener().await;
        let mut let_in = StdTcp::connect(address).expect("somebody listens");
        promptly("the stop", listener.stop()).await.expect("it is open");
        let _late = StdTcp::connect(address).expect("the kernel takes it");
        let handoff = listener.into_handoff().await.expect("it is open");
        assert_eq!(handoff.unread(), 1);
        let there = spawn_on(&other, move || async move {
            let listener = handoff.adopt();
            let stream = listener.accept_stream().await.expect("it had been let in");
            stream.write_all("!").await.0.expect("the client reads");
            assert_closed(listener.accept().await);
        });
        promptly("the other core", there).await.expect("no panic");
        let_in.read_exact(&mut [0]).expect("it is served");
    });
}

/// The listener of the core that accepts for all goes to the other core, and every client is served.
fn a_listener_that_accepts_by_load_moves_and_loses_nobody(variant: &Variant) {
    let address = crate::handoff::fixed_address();
    on_two_cores_of(variant.builder().accept(Accept::ByLoad), |other| async move {
        let mut listener = TcpListener::bind(address).await.expect("the port is free");
        let cores = [other, CoreHandle::current()];
        for round in 0..6 {
            // It waits here or has been queued here: nobody else has a seat.
            let mut client = StdTcp::connect(address).expect("somebody listens");
            if round % 2 == 0 {
                let stream = promptly("a client", listener.accept_stream()).await;
                // A plain read on this core must not wait for a close of the same core.
                stream.expect("it listens").close().await.expect("it is open");
                assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
                client = StdTcp::connect(address).expect("somebody listens");
                sleep(ms(2)).await;
            }
            let handoff = promptly("the handoff", listener.into_handoff()).await;
            let handoff = handoff.expect("it is open");
            let there = spawn_on(&cores[round % 2], move || async move {
                let listener = handoff.adopt();
                let stream = listener.accept_stream().await.expect("one waits");
                stream.write_all("!").await.0.expect("the client reads");
                listener.into_handoff().await.expect("it is open")
            });
            let handoff = promptly("the other core", there).await.expect("no panic");
            client.read_exact(&mut [0]).expect("it is served");
            listener = handoff.adopt();
        }
        listener.close().await.expect("it is open");
        assert!(std::net::TcpListener::bind(address).is_ok(), "the last one has gone");
    });
}

/// Tokens that nobody adopts close what they have.
fn handoffs_of_every_kind_close_when_they_are_dropped(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = unix_half();
        drop(ours.into_handoff().await.expect("it is quiet"));
        assert_eq!(plain.read(&mut [0]).expect("an orderly end"), 0);

        let (listener, address) = listener().await;
        drop(listener.into_handoff().await.expect("it is open"));
        assert_kind(StdTcp::connect(address), ErrorKind::ConnectionRefused);

        let name = crate::unix::address(&format!("dropped-{}", fastrand::u64(..)));
        let listener = UnixListener::bind_addr(&name).await.expect("the name is free");
        drop(listener.into_handoff().await.expect("it is open"));
        assert_kind(StdUnix::connect_addr(&name), ErrorKind::ConnectionRefused);
    });
}

/// After a stop, those whom the kernel had let in are served; then it is over.
fn a_stopped_unix_listener_serves_whom_it_has_let_in(variant: &Variant) {
    variant.run(async {
        let address = address(&format!("stops-{}", fastrand::u64(..)));
        let listener = UnixListener::bind_addr(&address).await.expect("the name is free");
        let connect = || StdUnix::connect_addr(&address).expect("somebody listens");
        // One accept, so that on a ring connections are taken ahead.
        let mut clients = vec![connect()];
        drop(listener.accept_stream().await.expect("one waits"));
        for _ in 0..20 {
            clients.push(connect());
            if fastrand::bool() {
                sleep(ms(1)).await;
            }
        }
        promptly("the stop", listener.stop()).await.expect("it is open");
        for _ in 0..20 {
            let accepted = promptly("one let in", listener.accept_stream()).await;
            accepted.expect("let in").write_all("!").await.0.expect("the client reads");
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
fn a_stop_ends_unix_accepts_that_wait(variant: &Variant) {
    variant.run(async {
        let address = address(&format!("waits-{}", fastrand::u64(..)));
        let listener = UnixListener::bind_addr(&address).await.expect("the name is free");
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
    });
}

/// The descriptor is open and the same, and what had been received comes beside it.
fn a_stream_goes_back_to_std_with_what_was_received_ahead(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let number = ours.as_raw_fd();
        plain.write_all(b"looked at, ").expect("room");
        ours.peek(Vec::with_capacity(3)).await.0.expect("bytes are there");
        drop(timeout(ms(5), ours.readable()).await);
        // A receive is under way when the next bytes come, and is given up.
        let first = ours.recv().await.expect("bytes are there").expect("no end");
        drop(timeout(ms(2), ours.recv()).await);
        plain.write_all(b"ahead, ").expect("room");
        sleep(ms(2)).await;
        let (mut std, mut bytes) = promptly("std", ours.into_std()).await.expect("it is quiet");
        assert_eq!(std.as_raw_fd(), number);
        plain.write_all(b"later").expect("room");
        drop(plain);
        std.set_nonblocking(false).expect("it is open");
        std.read_to_end(&mut bytes).expect("a clean end");
        assert_eq!([&first[..], &bytes].concat(), b"looked at, ahead, later");

        let (ours, sender) = UnixStream::pair().expect("a pair");
        received_with_a_pipe(&ours, &sender).await;
        sender.write_all("later").await.0.expect("room");
        sender.close().await.expect("it is open");
        let (mut std, (mut bytes, fds)) = ours.into_std().await.expect("it is quiet");
        std.set_nonblocking(false).expect("it is open");
        let ahead = bytes.len();
        std.read_to_end(&mut bytes).expect("a clean end");
        assert_eq!(bytes, b"besidelater");
        // Where nothing was taken ahead, the descriptor has gone with the bytes that std has read.
        assert_eq!(fds.len(), usize::from(ahead > 0));
    });
}

/// The listener is open, and connections that had been accepted come beside it.
fn a_listener_goes_back_to_std_with_whom_it_has_accepted(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        let mut clients = vec![StdTcp::connect(address).expect("somebody listens")];
        drop(listener.accept_stream().await.expect("one waits"));
        drop(timeout(ms(2), listener.accept_stream()).await);
        clients.extend((0..CLIENTS).map(|_| StdTcp::connect(address).expect("somebody listens")));
        sleep(ms(5)).await;
        let (std, mut accepted) = promptly("std", listener.into_std()).await.expect("it is open");
        std.set_nonblocking(false).expect("it is open");
        while accepted.len() < CLIENTS {
            accepted.push(std.accept().expect("one waits").0);
        }
        for mut stream in accepted {
            stream.write_all(b"!").expect("the client reads");
        }
        for client in &mut clients[1..] {
            client.read_exact(&mut [0]).expect("it is served");
        }
    });
}

/// The file comes from a descriptor, and goes back open.
fn a_file_goes_back_to_std_when_its_operations_have_ended(variant: &Variant) {
    let place = Place::new();
    let path = place.path("file");
    std::fs::write(&path, b"on the disk").expect("there is room");
    variant.run(async {
        let open = std::fs::File::open(&path).expect("it is there");
        let number = open.as_raw_fd();
        let file = File::from(OwnedFd::from(open));
        assert_eq!(file.as_fd().as_raw_fd(), number);
        let _ = poll_once(pin!(file.read_at(vec![0; 4], 0))).await;
        let mut std = promptly("the file", file.into_std()).await;
        assert_eq!(std.as_raw_fd(), number);
        let mut text = String::new();
        std.read_to_string(&mut text).expect("it is open");
        assert_eq!(text, "on the disk");
    });
}

/// What it is decides who takes it; whoever else is asked says in a sentence what it is not.
fn a_descriptor_is_taken_over_by_its_kind(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = half();
        let fd: OwnedFd = ours.into_std().await.expect("it is quiet").0.into();
        let again = |fd: &OwnedFd| fd.try_clone().expect("there is room");
        let wrong = TcpListener::try_from(again(&fd)).expect_err("it does not listen");
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
        assert_eq!(wrong.to_string(), "the descriptor is no TCP socket that listens");
        assert_kind(UnixStream::try_from(again(&fd)), ErrorKind::InvalidInput);
        assert_kind(UdpSocket::try_from(again(&fd)), ErrorKind::InvalidInput);
        let stream = TcpStream::try_from(fd).expect("it is one");
        send(&stream, b"taken over").await;
        drop(stream);
        assert_eq!(plain_to_end(plain).await, b"taken over");

        let (one, other) = UnixDatagram::pair().expect("a pair");
        drop(one);
        let fd = other.with_fd(|fd| fd.try_clone_to_owned()).expect("it is open").expect("room");
        assert_kind(UnixStream::try_from(again(&fd)), ErrorKind::InvalidInput);
        drop(UnixDatagram::try_from(fd).expect("it is one"));
    });
}
