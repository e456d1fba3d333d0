//! UDP: datagrams in leases and in buffers, alone and in batches.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringpark::net::{Datagram, Transmit, UdpSocket};
use ringpark::time::timeout;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "R2" => datagrams_come_with_their_senders_in_leases_and_buffers,
    Every: "R2" => empty_datagrams_are_datagrams,
    Every: "R2" => a_datagram_that_was_cut_off_says_so,
    Every: "X1" => dropped_udp_receives_lose_no_datagram,
    Every: "G1" => a_connected_udp_socket_hears_of_a_closed_port,
    Every: "G1" => a_connected_udp_socket_hears_nobody_else,
    Every: "G3" => a_series_of_datagrams_goes_and_comes_as_one,
    Every: "G2" => batches_of_datagrams_keep_their_order,
    Every: "G2" => a_batch_does_not_overtake_a_waiting_receive,
    Every: "G2" => a_batch_stops_at_the_first_error,
    Every: "G1" => a_udp_socket_tells_its_pending_error_once,
    Every: "D1" => udp_deadlines_hold_in_both_directions,
    Every: "C1" => close_wakes_udp_receives,
    Every: "M1" => two_udp_readers_take_turns,
    Every: "G4" => many_kept_datagrams_do_not_stop_the_next,
    Every: "G5" => a_datagram_that_is_too_long_is_an_error,
    Plain: "Z6" => cores_share_a_udp_port,
];

/// A socket on loopback, with its address.
pub async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(ANY).await.expect("a port on loopback");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// An address that nobody answers at, and that nobody else gets: who holds it hears only itself.
fn closed_address() -> (std::net::UdpSocket, SocketAddr) {
    let holder = std::net::UdpSocket::bind(ANY).expect("a port on loopback");
    let address = holder.local_addr().expect("it is bound");
    holder.connect(address).expect("that only sets the address");
    (holder, address)
}

/// The next datagram.
pub async fn recv(socket: &UdpSocket) -> Datagram {
    promptly("a datagram", socket.recv()).await.expect("a datagram")
}

/// In any mixture of the ways to receive, with the right peer addresses.
fn datagrams_come_with_their_senders_in_leases_and_buffers(variant: &Variant) {
    let rounds = variant.scale(2000).max(50);
    variant.run(async {
        let (server, to) = socket().await;
        let clients = [socket().await, socket().await];
        let mut rng = variant.rng();
        for round in 0..rounds {
            let (client, address) = &clients[rng.usize(0..2)];
            let message = Pattern::small(round).bytes(0, rng.usize(0..3000));
            let (sent, _) = promptly("a send", client.send_to(message.clone(), to)).await;
            assert_eq!(sent.expect("there is room"), message.len());
            match rng.u32(0..3) {
                0 => {
                    let datagram = recv(&server).await;
                    assert_eq!((&datagram[..], datagram.from), (&message[..], *address));
                    assert!(!datagram.received.is_truncated());
                    let back = server.send_to(datagram.lease, *address).await;
                    assert_eq!(back.0.expect("there is room"), message.len());
                    assert_eq!(recv(client).await.lease[..], message);
                }
                1 => {
                    let receive = server.recv_from(Vec::with_capacity(4000));
                    let (received, bytes) = promptly("a receive", receive).await;
                    assert_eq!(received.expect("a datagram"), (message.len(), *address));
                    assert_eq!(bytes, message);
                }
                _ => {
                    let receive = server.recv_msg(vec![0; 4000].into_boxed_slice());
                    let (received, bytes) = promptly("a receive", receive).await;
                    let received = received.expect("a datagram");
                    assert_eq!((received.from, received.full_len), (*address, message.len()));
                    assert_eq!(bytes[..received.len], message);
                }
            }
        }
    });
}

/// Zero bytes are a datagram, and no end.
fn empty_datagrams_are_datagrams(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, address) = socket().await;
        for _ in 0..5 {
            assert_eq!(client.send_to("", to).await.0.expect("there is room"), 0);
            let datagram = recv(&server).await;
            assert_eq!((datagram.len(), datagram.from), (0, address));
            assert_eq!(datagram.segments().count(), 1);
            assert_eq!(client.send_to("", to).await.0.expect("there is room"), 0);
            let receive = server.recv_from(Vec::with_capacity(8));
            let (received, bytes) = promptly("a receive", receive).await;
            assert_eq!((received.expect("a datagram"), bytes), ((0, address), vec![]));
        }
        client.send_to("last", to).await.0.expect("there is room");
        assert_eq!(&recv(&server).await[..], b"last");
    });
}

/// Truncation is reported, and takes nothing from the next; also into a buffer without room.
fn a_datagram_that_was_cut_off_says_so(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        for bytes in ["0123456789", "no room", "whole"] {
            client.send_to(bytes, to).await.0.expect("there is room");
        }
        let receive = server.recv_msg(Vec::with_capacity(4));
        let (received, bytes) = promptly("a receive", receive).await;
        let received = received.expect("a datagram");
        assert!(received.is_truncated() && received.full_len == 10 && received.len == 4);
        assert_eq!(bytes, b"0123");
        let (received, _) = promptly("a receive", server.recv_msg(Vec::new())).await;
        assert!(received.expect("a datagram").is_truncated());
        let receive = server.recv_msg(Vec::with_capacity(64));
        let (received, bytes) = promptly("a receive", receive).await;
        assert!(!received.expect("a datagram").is_truncated() && bytes == b"whole");
    });
}

/// Receives of both kinds, dropped at random, lose none and repeat none.
fn dropped_udp_receives_lose_no_datagram(variant: &Variant) {
    let count = variant.scale(5000).max(200) as u32;
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        let mut rng = variant.rng();
        let mut sent = 0;
        let mut next = 0;
        while next < count {
            // Never so many on the way that the kernel would drop one.
            while sent < count && sent - next < 20 && rng.bool() {
                client.send_to(sent.to_ne_bytes().to_vec(), to).await.0.expect("there is room");
                sent += 1;
            }
            let got = match rng.bool() {
                true => {
                    let mut receive = pin!(server.recv());
                    let mut polled = poll_once(receive.as_mut()).await;
                    if polled.is_pending() && rng.bool() {
                        ringpark::yield_now().await;
                        polled = poll_once(receive.as_mut()).await;
                    }
                    match polled {
                        std::task::Poll::Ready(got) => Some(got.expect("it comes").to_vec()),
                        std::task::Poll::Pending => None,
                    }
                }
                false => {
                    let receive = server.recv_from(Vec::with_capacity(16));
                    match timeout(Duration::from_micros(rng.u64(0..300)), receive).await {
                        Ok((result, bytes)) => {
                            result.expect("it comes");
                            Some(bytes)
                        }
                        Err(_) => None,
                    }
                }
            };
            if let Some(bytes) = got {
                assert_eq!(bytes, next.to_ne_bytes());
                next += 1;
            }
        }
    });
}

/// Nobody listens: the next call says so.
fn a_connected_udp_socket_hears_of_a_closed_port(variant: &Variant) {
    variant.run(async {
        let (_holder, address) = closed_address();
        for by_lease in [true, false] {
            let (client, _) = socket().await;
            client.connect(address).await.expect("that only sets the address");
            assert_eq!(client.peer_addr().expect("it is connected"), address);
            client.send("x").await.0.expect("it goes out");
            match by_lease {
                true => {
                    let result = promptly("a receive", client.recv()).await;
                    assert_kind(result, ErrorKind::ConnectionRefused);
                }
                false => {
                    let receive = client.recv_from(Vec::with_capacity(8));
                    assert_kind(
                        promptly("a receive", receive).await.0,
                        ErrorKind::ConnectionRefused,
                    );
                }
            }
            // It goes on all the same.
            client.set_read_deadline(Some(Instant::now() + ms(10)));
            assert_timed_out(promptly("a receive", client.recv()).await);
        }
        let (nowhere, _) = socket().await;
        let result = nowhere.send("x").await.0;
        assert!(result.is_err(), "not connected");
    });
}

/// Only what comes from where it is connected.
fn a_connected_udp_socket_hears_nobody_else(variant: &Variant) {
    variant.run(async {
        let (one, one_address) = socket().await;
        let (other, other_address) = socket().await;
        let (stranger, _) = socket().await;
        one.connect(other_address).await.expect("an address");
        stranger.send_to("noise", one_address).await.0.expect("it goes out");
        other.send_to("word", one_address).await.0.expect("it goes out");
        assert_eq!(&recv(&one).await[..], b"word");
        one.send("answer").await.0.expect("it is connected");
        assert_eq!(&recv(&other).await[..], b"answer");
    });
}

/// UDP_SEGMENT and UDP_GRO: one call sends many, one datagram brings many, and says where they end. In
/// the tests of kqueue they go one by one, as on the BSDs, and are all the same.
fn a_series_of_datagrams_goes_and_comes_as_one(variant: &Variant) {
    let by_kernel = cfg!(not(ringpark_kqueue));
    variant.run(async {
        let (server, to) = socket().await;
        let (client, address) = socket().await;
        let bytes = Pattern::small(5).bytes(0, 1200 * 20 + 7);
        let transmit = Transmit::new(to).segment_size(1200);
        // Without GRO they come one by one.
        client.transmit(bytes.clone(), &transmit).await.0.expect("there is room");
        let mut count = 0;
        for segment in bytes.chunks(1200) {
            assert_eq!(&recv(&server).await[..], segment);
            count += 1;
        }
        assert_eq!(count, 21);
        server.set_gro(true).expect("the kernel knows it");
        for round in 0..3 {
            let (sent, _) = client.transmit(bytes.clone(), &transmit).await;
            assert_eq!(sent.expect("there is room"), bytes.len());
            let mut segments = Vec::new();
            let mut receives = 0;
            while segments.len() < 21 {
                receives += 1;
                if round == 1 {
                    let receive = server.recv_msg(Vec::with_capacity(65_536));
                    let (received, bytes) = promptly("a receive", receive).await;
                    let received = received.expect("a datagram");
                    assert_eq!(received.from, address);
                    let size = received.segment.unwrap_or(bytes.len());
                    segments.extend(bytes.chunks(size).map(<[u8]>::to_vec));
                } else {
                    let datagram = recv(&server).await;
                    assert_eq!(datagram.from, address);
                    segments.extend(datagram.segments().map(<[u8]>::to_vec));
                }
            }
            assert!(receives < 21 || !by_kernel, "they were put together");
            assert!(segments.iter().map(Vec::as_slice).eq(bytes.chunks(1200)));
        }
        let too_many = Transmit::new(to).segment_size(1);
        let (result, _) = client.transmit(vec![0; 5000], &too_many).await;
        assert!(result.is_err() || !by_kernel, "a series has a limit");
        if by_kernel {
            let (sent, _) = client.transmit("", &transmit).await;
            assert_eq!(sent.expect("an empty datagram is one"), 0);
            assert_eq!(recv(&server).await.len(), 0);
        }
    });
}

/// Batches out and in.
fn batches_of_datagrams_keep_their_order(variant: &Variant) {
    let rounds = variant.scale(100).max(5);
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        for round in 0..rounds {
            let batch = (0..30_u32).map(|n| (n.to_ne_bytes().to_vec(), to)).collect();
            let (sent, buffers) = promptly("a batch", client.send_batch(batch)).await;
            assert_eq!((sent.expect("there is room"), buffers.len()), (30, 30));
            let mut all = Vec::new();
            while all.len() < 30 {
                let max = 1 + round as usize % 40;
                let before = all.len();
                let receive = server.recv_batch(&mut all, max);
                let count = promptly("a batch", receive).await.expect("datagrams");
                assert!(count >= 1 && count <= max && all.len() == before + count);
            }
            assert!(all.iter().zip(0..30_u32).all(|(it, n)| it[..] == n.to_ne_bytes()));
        }
        assert_eq!(server.recv_batch(&mut Vec::new(), 0).await.expect("that is easy"), 0);
        let (sent, _) = client.send_batch(Vec::<(Vec<u8>, SocketAddr)>::new()).await;
        assert_eq!(sent.expect("that is easy"), 0);
    });
}

/// First come, first served: a batch that has its datagram leaves the next to who waits for it.
fn a_batch_does_not_overtake_a_waiting_receive(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        for _ in 0..20 {
            let mut batch = Vec::new();
            let mut first = Box::pin(server.recv_batch(&mut batch, 8));
            start(first.as_mut()).await;
            let mut second = Box::pin(server.recv());
            start(second.as_mut()).await;
            let four = (0..4_u8).map(|number| (vec![number], to)).collect();
            let (sent, _) = promptly("a batch", client.send_batch(four)).await;
            assert_eq!(sent.expect("there is room"), 4);
            let count = promptly("the batch", first).await.expect("datagrams");
            assert_eq!((count, &batch[0][..]), (1, &[0][..]));
            assert_eq!(promptly("the receive", second).await.expect("a datagram")[..], [1]);
            let mut rest = Vec::new();
            while rest.len() < 2 {
                promptly("the rest", server.recv_batch(&mut rest, 8)).await.expect("datagrams");
            }
            assert_eq!((&rest[0][..], &rest[1][..]), (&[2][..], &[3][..]));
        }
    });
}

/// What went before a bad one has gone, and the bad one is the first of the next call.
fn a_batch_stops_at_the_first_error(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        let long = vec![0; 100_000];
        let batch = vec![(vec![1], to), (vec![2], to), (long, to), (vec![3], to)];
        let (sent, buffers) = client.send_batch(batch).await;
        assert_eq!((sent.expect("two go"), buffers.len()), (2, 4));
        let rest = buffers.into_iter().skip(2).map(|buffer| (buffer, to)).collect();
        let (sent, _) = client.send_batch(rest).await;
        let error = sent.expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!((recv(&server).await[0], recv(&server).await[0]), (1, 2));
    });
}

/// SO_ERROR: a report that came while nobody asked.
fn a_udp_socket_tells_its_pending_error_once(variant: &Variant) {
    variant.run(async {
        let (_holder, address) = closed_address();
        let (client, _) = socket().await;
        client.connect(address).await.expect("that only sets the address");
        assert!(client.take_error().expect("it is open").is_none());
        client.transmit("x", &Transmit::connected()).await.0.expect("it goes out");
        let mut error = None;
        until("the report comes", || {
            error = client.take_error().expect("it is open");
            error.is_some()
        })
        .await;
        assert_eq!(error.map(|it| it.kind()), Some(ErrorKind::ConnectionRefused));
        assert!(client.take_error().expect("it is open").is_none());
    });
}

/// Read and write deadlines, and reads again after one.
fn udp_deadlines_hold_in_both_directions(variant: &Variant) {
    variant.run(async {
        let (one, to) = socket().await;
        let (other, _) = socket().await;
        one.set_read_deadline(Some(Instant::now() + ms(10)));
        assert_timed_out(promptly("a receive", one.recv()).await);
        assert_timed_out(one.recv_from(Vec::with_capacity(8)).await.0);
        other.set_write_deadline(Some(past()));
        assert_timed_out(other.send_to("x", to).await.0);
        let (sent, _) = other.send_batch(vec![("x", to)]).await;
        assert_timed_out(sent);
        other.set_write_deadline(None);
        other.send_to("x", to).await.0.expect("there is room");
        assert_timed_out(one.recv().await);
        one.set_read_deadline(None);
        assert_eq!(&recv(&one).await[..], b"x");
    });
}

/// Both kinds of receives, and calls after it.
fn close_wakes_udp_receives(variant: &Variant) {
    variant.run(async {
        for by_lease in [true, false] {
            let (ours, address) = socket().await;
            let ours = Rc::new(ours);
            let receiver = ours.clone();
            let waiting = ringpark::spawn(async move {
                match by_lease {
                    true => receiver.recv().await.map(|datagram| datagram.len()),
                    false => receiver.recv_msg(Vec::with_capacity(8)).await.0.map(|it| it.len),
                }
            });
            ringpark::time::sleep(ms(3)).await;
            assert!(!waiting.is_finished());
            promptly("close", ours.close()).await.expect("the first close");
            assert_closed(promptly("the receive", waiting).await.expect("no panic"));
            assert_closed(ours.recv().await);
            assert_closed(ours.send_to("x", address).await.0);
            drop(std::net::UdpSocket::bind(address).expect("the port is free"));
        }
    });
}

/// Readers that wait get one datagram each, first come, first served.
fn two_udp_readers_take_turns(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        let server = Rc::new(server);
        let readers: Vec<_> = (0..4_u8)
            .map(|number| {
                let server = server.clone();
                ringpark::spawn(async move {
                    assert_eq!(server.recv().await.expect("a datagram")[..], [number]);
                })
            })
            .collect();
        ringpark::time::sleep(ms(2)).await;
        for number in 0..4_u8 {
            client.send_to(vec![number], to).await.0.expect("there is room");
        }
        for reader in readers {
            promptly("a reader", reader).await.expect("its own");
        }
    });
}

/// Kept leases make the pool grow; they may outlive the socket.
fn many_kept_datagrams_do_not_stop_the_next(variant: &Variant) {
    let count = variant.scale(600).max(100) as u32;
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        let mut kept = Vec::new();
        for number in 0..count {
            client.send_to(number.to_ne_bytes().to_vec(), to).await.0.expect("there is room");
            kept.push(recv(&server).await.lease);
        }
        drop(server);
        assert!(kept.iter().zip(0..).all(|(it, n): (_, u32)| it[..] == n.to_ne_bytes()));
        let elsewhere = std::thread::spawn(move || drop(kept));
        elsewhere.join().expect("leases may be dropped anywhere");
        assert_eq!(ringpark::runtime::metrics().leases, 0);
    });
}

/// More than a datagram can be.
fn a_datagram_that_is_too_long_is_an_error(variant: &Variant) {
    variant.run(async {
        let (server, to) = socket().await;
        let (client, _) = socket().await;
        let (result, buffer) = client.send_to(vec![0; 65_508], to).await;
        assert_eq!(result.expect_err("too long").raw_os_error(), Some(libc::EMSGSIZE));
        let (result, _) = client.send_to(buffer[..65_507].to_vec(), to).await;
        assert_eq!(result.expect("the longest"), 65_507);
        assert_eq!(recv(&server).await.len(), 65_507);
    });
}

/// Each core has a socket of its own on the same port, and what one sends comes to one of them.
fn cores_share_a_udp_port(variant: &Variant) {
    let holder = std::net::UdpSocket::bind(ANY).expect("a port on loopback");
    let address = holder.local_addr().expect("it is bound");
    drop(holder);
    let served = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let (count, wanted) = (served.clone(), 40);
    let sender = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(20);
        while count.load(std::sync::atomic::Ordering::SeqCst) < wanted {
            assert!(Instant::now() < end, "nobody serves");
            let client = std::net::UdpSocket::bind(ANY).expect("a port on loopback");
            client.set_read_timeout(Some(ms(200))).expect("the option is known");
            client.send_to(b"x", address).expect("it goes out");
            if client.recv(&mut [0; 8]).is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let cores = variant.builder().cores(2).run(move || {
        let served = served.clone();
        async move {
            let socket = UdpSocket::bind(address).await?;
            while served.load(std::sync::atomic::Ordering::SeqCst) < wanted {
                if let Ok(datagram) = timeout(ms(50), socket.recv()).await {
                    let datagram = datagram?;
                    socket.send_to(datagram.lease, datagram.from).await.0?;
                }
            }
            Ok(())
        }
    });
    cores.expect("both can bind");
    sender.join().expect("all are served");
}
