//! Datagrams of Unix sockets: their bounds, their senders, and descriptors that go along.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::pin::pin;
use std::rc::Rc;

use ringpark::net::UnixDatagram;
use ringpark::time::timeout;

use crate::harness::*;
use crate::unix::{address, Passed};

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "R2" => unix_datagrams_keep_their_bounds_and_senders,
    Every: "G8" => a_full_unix_socket_makes_its_senders_wait,
    Every: "X1" => dropped_unix_receives_lose_no_datagram,
    Every: "C1" => close_and_deadlines_wake_a_unix_datagram_socket,
    Every: "U2" => datagrams_bring_descriptors,
];

/// Empty datagrams, truncated ones, the sender's address.
fn unix_datagrams_keep_their_bounds_and_senders(variant: &Variant) {
    let place = Place::new();
    variant.run(async {
        let server = UnixDatagram::bind(place.path("server")).await.expect("the path is free");
        let client = UnixDatagram::bind_addr(&address("client")).await.expect("it is free");
        let nobody = UnixDatagram::unbound().await.expect("a socket");
        let to = place.path("server");
        for bytes in ["", "a whole one", "cut off", ""] {
            let (sent, _) = promptly("a send", client.send_to(bytes, &to)).await;
            assert_eq!(sent.expect("it is there"), bytes.len());
        }
        nobody.send_to("unsigned", &to).await.0.expect("it is there");

        let recv = |room| server.recv_from(Vec::with_capacity(room));
        let (received, bytes) = promptly("an empty one", recv(64)).await;
        let (len, from) = received.expect("it comes");
        assert_eq!((len, bytes.len()), (0, 0));
        assert_eq!(
            from.expect("it has one").as_abstract_name(),
            address("client").as_abstract_name()
        );
        assert_eq!(promptly("a whole one", recv(64)).await.1, b"a whole one");
        let cut = promptly("a cut one", server.recv_msg(Vec::with_capacity(3))).await;
        assert!(cut.0.expect("it comes").truncated && cut.1 == b"cut");
        let whole = promptly("an empty one", server.recv_msg(Vec::with_capacity(3))).await;
        let message = whole.0.expect("it comes");
        assert!(!message.truncated && message.len == 0);
        let (received, bytes) = promptly("the last", recv(64)).await;
        assert_eq!(bytes, b"unsigned");
        assert!(received.expect("it comes").1.is_none());

        server.connect_addr(&address("client")).await.expect("it is there");
        server.send("back").await.0.expect("it is connected");
        let (len, bytes) = promptly("the answer", client.recv(Vec::with_capacity(64))).await;
        assert_eq!((len.expect("it comes"), &bytes[..]), (4, &b"back"[..]));
        let there = server.peer_addr().expect("it is connected");
        assert_eq!(there.as_abstract_name(), address("client").as_abstract_name());
        assert_kind(nobody.send("x").await.0, ErrorKind::NotConnected);
        let (result, _) = nobody.send_to("x", place.path("nothing")).await;
        assert_kind(result, ErrorKind::NotFound);
    });
}

/// A receiver that does not read stops its senders, connected or not, and loses nothing.
fn a_full_unix_socket_makes_its_senders_wait(variant: &Variant) {
    variant.run(async {
        let server = Rc::new(UnixDatagram::bind_addr(&address("s")).await.expect("it is free"));
        let connected = UnixDatagram::unbound().await.expect("a socket");
        connected.connect_addr(&address("s")).await.expect("it is there");
        let other = Rc::new(UnixDatagram::unbound().await.expect("a socket"));
        let mut sent = 0_u32;
        for round in 0.. {
            assert!(round < 10_000, "a queue has an end");
            let bytes = sent.to_ne_bytes().to_vec();
            match timeout(ms(50), connected.send(bytes)).await {
                Ok((result, _)) => result.expect("it is there"),
                Err(_) => break,
            };
            sent += 1;
        }
        let queue_full = sent;
        let to_address = other.clone();
        let one = ringpark::spawn(async move { connected.send(vec![1; 4]).await.0 });
        let two =
            ringpark::spawn(
                async move { to_address.send_to_addr(vec![2; 4], &address("s")).await.0 },
            );
        ringpark::time::sleep(ms(20)).await;
        assert!(!one.is_finished() && !two.is_finished(), "there is no room");
        let mut last = Vec::new();
        for number in 0..queue_full + 2 {
            let receive = server.recv(Vec::with_capacity(8));
            let (len, bytes) = promptly("a receive", receive).await;
            assert_eq!(len.expect("it comes"), 4);
            match number < queue_full {
                true => assert_eq!(bytes, number.to_ne_bytes()),
                false => last.push(bytes[0]),
            }
        }
        last.sort_unstable();
        assert_eq!(last, [1, 2]);
        for sender in [one, two] {
            promptly("a sender", sender).await.expect("no panic").expect("there is room");
        }
    });
}

/// Receives dropped at random lose none, and repeat none.
fn dropped_unix_receives_lose_no_datagram(variant: &Variant) {
    let count = variant.scale(5000).max(200) as u32;
    variant.run(async {
        let (one, other) = UnixDatagram::pair().expect("a pair");
        let sender = ringpark::spawn(async move {
            for number in 0..count {
                one.send(number.to_ne_bytes().to_vec()).await.0.expect("it reads");
                if number % 7 == 0 {
                    ringpark::yield_now().await;
                }
            }
        });
        let mut rng = variant.rng();
        let mut next = 0;
        while next < count {
            let received = {
                let mut receive = pin!(other.recv(Vec::with_capacity(16)));
                let mut polled = poll_once(receive.as_mut()).await;
                for _ in 0..rng.u32(0..3) {
                    if polled.is_pending() {
                        ringpark::yield_now().await;
                        polled = poll_once(receive.as_mut()).await;
                    }
                }
                polled
            };
            if let std::task::Poll::Ready((result, bytes)) = received {
                assert_eq!(result.expect("it comes"), 4);
                assert_eq!(bytes, next.to_ne_bytes());
                next += 1;
            } else if rng.bool() {
                let receive = other.recv(Vec::with_capacity(16));
                let (result, bytes) = promptly("a receive", receive).await;
                assert_eq!(result.expect("it comes"), 4);
                assert_eq!(bytes, next.to_ne_bytes());
                next += 1;
            }
        }
        promptly("the sender", sender).await.expect("no panic");
    });
}

/// Whoever waits is told, of either, in both directions of a datagram socket.
fn close_and_deadlines_wake_a_unix_datagram_socket(variant: &Variant) {
    variant.run(async {
        let (one, _other) = UnixDatagram::pair().expect("a pair");
        one.set_read_deadline(Some(std::time::Instant::now() + ms(10)));
        assert_timed_out(promptly("a receive", one.recv(Vec::with_capacity(8))).await.0);
        one.set_read_deadline(None);
        one.set_write_deadline(Some(past()));
        assert_timed_out(one.send("x").await.0);
        one.set_write_deadline(None);
        let one = Rc::new(one);
        let mut receive = pin!(one.recv(Vec::with_capacity(8)));
        start(receive.as_mut()).await;
        let closing = one.clone();
        let closer = ringpark::spawn(async move { closing.close().await });
        assert_closed(promptly("the receive", receive).await.0);
        closer.await.expect("no panic").expect("the first close");
        assert_closed(one.send("x").await.0);

        // One that waits for room at an address.
        let server = UnixDatagram::bind_addr(&address("s")).await.expect("it is free");
        let sender = UnixDatagram::unbound().await.expect("a socket");
        sender.set_write_deadline(Some(std::time::Instant::now() + ms(100)));
        let failed = loop {
            match sender.send_to_addr("x", &address("s")).await.0 {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_timed_out(Err::<(), _>(failed));
        drop(server);
    });
}

/// A datagram with descriptors, with and without bytes.
fn datagrams_bring_descriptors(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixDatagram::pair().expect("a pair");
        for bytes in ["", "bytes"] {
            let mut passed = Passed::new();
            one.send_fds(bytes, vec![passed.take()]).await.0.expect("it is there");
            let receive = other.recv_msg(Vec::with_capacity(64));
            let (message, received) = promptly("a receive", receive).await;
            assert_eq!(received, bytes.as_bytes());
            let fds = message.expect("it comes").fds;
            passed.check(fds.into_iter().next().expect("one came"));
        }
    });
}
