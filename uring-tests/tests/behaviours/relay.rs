//! The relay: both directions at once, ends passed through, counts that are exact.

use std::future::IntoFuture;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringpark::io::{RelayError, Transferred};
use ringpark::net::TcpStream;
use ringpark::runtime::Feature;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "S1"|"S2" => a_relay_splices_bulk_and_copies_small_messages,
];

/// Those that hold whatever path the bytes take.
pub const BY_EACH_PATH: &[Behaviour] = relays![
    Every: "S1"|"S2" => relay_moves_both_directions_at_once,
    Every: "S1" => relay_passes_a_half_close_through,
    Every: "S1" => relay_passes_a_half_close_through_the_other_way,
    Every: "S1"|"S2" => relay_reports_a_reset_and_ends_both,
    Every: "S2" => relay_counts_what_arrived_when_it_fails,
    Every: "S4" => relay_sends_bytes_already_read_first,
    Every: "S4" => relay_goes_on_with_bytes_that_a_peek_or_a_dropped_recv_left,
    Every: "X9" => a_dropped_relay_leaves_the_streams_usable,
    Every: "C1" => close_ends_a_relay,
];

/// A client and a server, plain, and our two ends between them.
pub struct Scene {
    pub client: StdStream,
    pub a: TcpStream,
    pub b: TcpStream,
    pub server: StdStream,
}

pub fn scene() -> Scene {
    let (a, client) = half();
    let (b, server) = half();
    Scene { client, a, b, server }
}

/// The bytes there and back.
pub fn counts(transferred: Transferred) -> (u64, u64) {
    (transferred.a_to_b, transferred.b_to_a)
}

/// Sends so many bytes of a pattern and then the end, and checks that as many of the other come.
fn exchange(
    stream: StdStream,
    out: Pattern,
    out_len: u64,
    incoming: &Pattern,
) -> std::thread::JoinHandle<u64> {
    let mut checker = incoming.checker();
    std::thread::spawn(move || {
        let mut writer = stream.try_clone().expect("a descriptor is free");
        let writing = std::thread::spawn(move || {
            let mut sent = 0;
            while sent < out_len {
                let chunk = out.chunk(sent, (out_len - sent).min(77_777) as usize);
                writer.write_all(&chunk).expect("it reads");
                sent += chunk.len() as u64;
            }
            writer.shutdown(Shutdown::Write).expect("it is connected");
        });
        let (mut reader, mut sink) = (stream, vec![0; 100_000]);
        loop {
            match reader.read(&mut sink).expect("bytes come") {
                0 => break,
                count => checker.take(&sink[..count]),
            }
        }
        writing.join().expect("it reads");
        checker.offset()
    })
}

/// Both directions at once, counted exactly.
fn relay_moves_both_directions_at_once(variant: &Variant) {
    let (up, down) = (variant.scale(64 << 20), variant.scale(48 << 20) + 12_345);
    variant.run(async {
        let Scene { client, a, b, server } = scene();
        let (ups, downs) = (Pattern::new(variant.seed()), Pattern::new(variant.seed() + 1));
        let client = exchange(client, ups.clone(), up, &downs);
        let server = exchange(server, downs.clone(), down, &ups);
        let transferred = relay(&a, &b).await.expect("both ends are well");
        assert_eq!(counts(transferred), (up, down));
        until("both have ended", || client.is_finished() && server.is_finished()).await;
        assert_eq!(client.join().expect("the right bytes"), down);
        assert_eq!(server.join().expect("the right bytes"), up);
    });
}

/// The end of one direction passes through, and the other goes on.
fn relay_passes_a_half_close_through(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        let threads = std::thread::spawn(move || {
            client.write_all(b"request").expect("there is room");
            client.shutdown(Shutdown::Write).expect("it is connected");
            let mut request = Vec::new();
            server.read_to_end(&mut request).expect("a clean end");
            assert_eq!(request, b"request");
            // The other direction goes on after the first has ended.
            for _ in 0..10 {
                server.write_all(b"answer").expect("there is room");
                client.read_exact(&mut [0; 6]).expect("the answer comes");
            }
            drop(server);
            assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
        });
        let transferred = promptly("the relay", relay(&a, &b).into_future()).await;
        assert_eq!(counts(transferred.expect("both ends are well")), (7, 60));
        until("both have ended", || threads.is_finished()).await;
        threads.join().expect("all arrives");
    });
}

/// The same from the other side.
fn relay_passes_a_half_close_through_the_other_way(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        let threads = std::thread::spawn(move || {
            server.write_all(b"banner").expect("there is room");
            server.shutdown(Shutdown::Write).expect("it is connected");
            let mut banner = Vec::new();
            client.read_to_end(&mut banner).expect("a clean end");
            assert_eq!(banner, b"banner");
            client.write_all(b"much later").expect("there is room");
            server.read_exact(&mut [0; 10]).expect("the bytes come");
            drop(client);
            assert_eq!(server.read(&mut [0]).expect("a clean end"), 0);
        });
        let transferred = promptly("the relay", relay(&a, &b).into_future()).await;
        assert_eq!(counts(transferred.expect("both ends are well")), (10, 6));
        until("both have ended", || threads.is_finished()).await;
        threads.join().expect("all arrives");
    });
}

fn reset(stream: StdStream) {
    let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("the option is known");
}

/// A reset on one side ends both and is reported, with the counts.
fn relay_reports_a_reset_and_ends_both(variant: &Variant) {
    variant.run(async {
        for from_client in [true, false] {
            let Scene { mut client, a, b, server } = scene();
            let relayed = {
                let (a, b) = (Rc::new(a), Rc::new(b));
                ringpark::spawn(async move {
                    let result = relay(&a, &b).await;
                    (a.close().await.and(b.close().await), result)
                })
            };
            client.write_all(b"ping").expect("there is room");
            let server_end = server.try_clone().expect("a descriptor is free");
            let reading = std::thread::spawn(move || {
                let mut server = server_end;
                server.read_exact(&mut [0; 4]).expect("the bytes come");
            });
            until("the server has the bytes", || reading.is_finished()).await;
            reading.join().expect("the bytes come");
            let survivor = if from_client {
                reset(client);
                server
            } else {
                reset(server);
                client
            };
            let (closed, result) = promptly("the relay", relayed).await.expect("no panic");
            closed.expect("the first close");
            let error: RelayError = result.expect_err("a reset is an error");
            assert_eq!(counts(error.transferred), (4, 0));
            let error = std::io::Error::from(error);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            let mut survivor = survivor;
            let ended = std::thread::spawn(move || survivor.read(&mut [0; 8]));
            until("the survivor sees an end", || ended.is_finished()).await;
            let end = ended.join().expect("no panic");
            assert!(matches!(&end, Ok(0) | Err(_)), "{end:?}");
        }
    });
}

/// The counts of a relay that failed are of bytes that were really sent.
fn relay_counts_what_arrived_when_it_fails(variant: &Variant) {
    let total = variant.scale(8 << 20).max(1 << 20);
    variant.run(async {
        let Scene { client, a, b, server } = scene();
        let pattern = Pattern::new(variant.seed());
        let relayed = ringpark::spawn(async move { relay(&a, &b).await });
        let mut checker = pattern.checker();
        let threads = std::thread::spawn({
            let (mut client, mut server) = (client, server);
            move || {
                let mut writer = client.try_clone().expect("a descriptor is free");
                let writing =
                    std::thread::spawn(move || writer.write_all(&pattern.bytes(0, total as usize)));
                let mut sink = vec![0; 50_000];
                while checker.offset() < total {
                    let count = server.read(&mut sink).expect("bytes come");
                    checker.take(&sink[..count]);
                }
                writing.join().expect("no panic").expect("all is read");
                server.write_all(b"answer").expect("there is room");
                client.read_exact(&mut [0; 6]).expect("the answer comes");
                reset(client);
            }
        });
        let error = promptly("the relay", relayed).await.expect("no panic").expect_err("reset");
        assert_eq!(counts(error.transferred), (total, 6));
        threads.join().expect("all arrives");
    });
}

/// Bytes already read go out first, in both directions, and count.
fn relay_sends_bytes_already_read_first(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        let threads = std::thread::spawn(move || {
            client.write_all(b"body").expect("there is room");
            client.shutdown(Shutdown::Write).expect("it is connected");
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("a clean end");
            assert_eq!(all, b"header body");
            server.write_all(b"data").expect("there is room");
            drop(server);
            let mut all = Vec::new();
            client.read_to_end(&mut all).expect("a clean end");
            assert_eq!(all, b"200 OK data");
        });
        let relayed =
            relay(&a, &b).prefix(Bytes::from_static(b"header ")).reply_prefix(b"200 OK ".to_vec());
        let transferred = promptly("the relay", relayed.into_future()).await;
        assert_eq!(counts(transferred.expect("both ends are well")), (11, 11));
        until("both have ended", || threads.is_finished()).await;
        threads.join().expect("all arrives");
    });
}

/// Bytes that were peeked at, or received for a recv that was dropped, are not forgotten.
fn relay_goes_on_with_bytes_that_a_peek_or_a_dropped_recv_left(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        {
            let mut recv = pin!(a.recv());
            start(recv.as_mut()).await;
        }
        client.write_all(b"0123456789").expect("there is room");
        let (_, peeked) = promptly("the peek", a.peek(Vec::with_capacity(4))).await;
        assert!(b"0123".starts_with(&peeked));
        assert_eq!(receive(&a, 2).await, b"01");
        let threads = std::thread::spawn(move || {
            client.shutdown(Shutdown::Write).expect("it is connected");
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("a clean end");
            assert_eq!(all, b"23456789");
        });
        let transferred = promptly("the relay", relay(&a, &b).into_future()).await;
        assert_eq!(counts(transferred.expect("both ends are well")), (8, 0));
        until("both have ended", || threads.is_finished()).await;
        threads.join().expect("all arrives");
    });
}

/// A relay that is dropped while nothing is under way leaves both streams as they are: what it has
/// read has been sent, what it has not read is still there.
fn a_dropped_relay_leaves_the_streams_usable(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        for round in 0..10_u8 {
            let mut relayed = Box::pin(relay(&a, &b).into_future());
            assert!(poll_once(relayed.as_mut()).await.is_pending());
            client.write_all(&[round; 4]).expect("there is room");
            let through = until("the bytes are through", || sys::readable_bytes(&server) >= 4);
            if round % 2 == 0 {
                match futures_util::future::select(pin!(through), relayed).await {
                    futures_util::future::Either::Left(((), relayed)) => drop(relayed),
                    futures_util::future::Either::Right((ended, _)) => {
                        panic!("it ended: {ended:?}")
                    }
                }
                let mut got = [0; 4];
                server.read_exact(&mut got).expect("the bytes are there");
                assert_eq!(got, [round; 4]);
            } else {
                drop(relayed);
                assert_eq!(promptly("a read", receive(&a, 4)).await, [round; 4]);
            }
        }
        client.shutdown(Shutdown::Write).expect("it is connected");
        server.write_all(b"answer").expect("there is room");
        server.shutdown(Shutdown::Write).expect("it is connected");
        let relayed = promptly("the last relay", relay(&a, &b).into_future()).await;
        assert_eq!(counts(relayed.expect("both ends are well")), (0, 6));
        client.read_exact(&mut [0; 6]).expect("the answer comes");
        assert!(plain_to_end(server).await.is_empty());
    });
}

/// Closing a stream ends the relay on it.
fn close_ends_a_relay(variant: &Variant) {
    variant.run(async {
        let Scene { client, a, b, server } = scene();
        let (a, b) = (Rc::new(a), Rc::new(b));
        let relayed = ringpark::spawn({
            let (a, b) = (a.clone(), b.clone());
            async move { relay(&a, &b).await }
        });
        sleep(ms(5)).await;
        a.close().await.expect("the first close");
        let error = promptly("the relay", relayed).await.expect("no panic").expect_err("closed");
        let error = std::io::Error::from(error);
        assert!(ringpark::Closed::is(&error), "{error:?}");
        drop((client, server));
    });
}

/// Bulk goes through pipes, what is small through leases, and the counts hold on the way from
/// one to the other and back.
fn a_relay_splices_bulk_and_copies_small_messages(variant: &Variant) {
    let bulk = variant.scale(32 << 20).max(8 << 20);
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        let relayed = ringpark::spawn(async move { relay(&a, &b).await });
        let bytes = Arc::new(Pattern::new(variant.seed()).bytes(0, bulk as usize));
        let mut offset = 0;
        for _ in 0..3 {
            let sending = std::thread::spawn({
                let (mut client, bytes) = (client.try_clone().unwrap(), bytes.clone());
                move || client.write_all(&bytes)
            });
            let receiving = std::thread::spawn({
                let (mut server, bytes) = (server.try_clone().unwrap(), bytes.clone());
                move || {
                    let mut all = vec![0; bytes.len()];
                    server.read_exact(&mut all).expect("the bytes come");
                    assert!(all == *bytes, "other bytes");
                }
            });
            until("all is through", || sending.is_finished() && receiving.is_finished()).await;
            sending.join().expect("no panic").expect("all is read");
            receiving.join().expect("the right bytes");
            offset += bulk;
            let copied = ringpark::runtime::metrics().relayed_copied;
            for _ in 0..20 {
                client.write_all(b"small").expect("there is room");
                until("it is through", || sys::readable_bytes(&server) == 5).await;
                server.read_exact(&mut [0; 5]).expect("the bytes are there");
            }
            let metrics = ringpark::runtime::metrics();
            assert!(metrics.relayed_copied > copied, "small messages are copied: {metrics:?}");
            assert_eq!(
                metrics.relayed_copied + metrics.relayed_spliced,
                offset + 100 * (offset / bulk)
            );
        }
        // With faults every piece may be small, so that there is no bulk to be seen.
        let spliced = ringpark::runtime::metrics().relayed_spliced;
        match (variant.lacks(Feature::Splice), variant.has_faults()) {
            (true, _) => assert_eq!(spliced, 0),
            (false, false) => assert!(spliced > offset / 4, "{spliced} of {offset} bytes"),
            (false, true) => {}
        }
        server.write_all(b"bye").expect("there is room");
        drop(server);
        until("the answer is through", || sys::readable_bytes(&client) == 3).await;
        client.read_exact(&mut [0; 3]).expect("the answer is there");
        drop(client);
        let transferred = promptly("the relay", relayed).await.expect("no panic");
        assert_eq!(counts(transferred.expect("both ends are well")), (offset + 300, 3));
    });
}
