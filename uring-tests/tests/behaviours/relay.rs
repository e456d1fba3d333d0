//! The relay: both directions at once, ends passed through, counts that are exact.

use std::cell::Cell;
use std::future::IntoFuture;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringpark::io::{Relay, RelayError, RelayPath, Transferred};
use ringpark::net::TcpStream;
use ringpark::time::sleep;
use ringpark::Feature;

use crate::harness::*;

/// Behaviours that are there already, on the path that splices.
macro_rules! spliced {
    ($($($row:literal)|+ => $function:ident),* $(,)?) => {
        &[$(Behaviour {
            rows: &[$($row),+],
            name: concat!(stringify!($function), "_spliced"),
            on: On::Every,
            body: |variant| {
                PATH.set(RelayPath::Splice);
                $function(variant);
            },
        }),*]
    };
}
/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "S1" => relay_moves_both_directions_at_once,
    Every: "S1" => relay_passes_a_half_close_through,
    Every: "S1" => relay_passes_a_half_close_through_the_other_way,
    Every: "S1"|"S2" => relay_reports_a_reset_and_ends_both,
    Every: "S2" => relay_counts_what_arrived_when_it_fails,
    Every: "S4" => relay_sends_bytes_already_read_first,
    Every: "S4" => relay_goes_on_with_bytes_that_a_peek_or_a_dropped_recv_left,
    Every: "S5" => relay_ends_when_both_directions_are_idle,
    Every: "S5" => relay_is_not_idle_while_one_direction_is_busy,
    Every: "S5" => relay_ends_when_its_total_time_is_up,
    Every: "S5" => relay_ends_at_its_limit_of_bytes,
    Every: "S6" => a_slow_reader_stops_its_writer_and_nobody_else,
    Every: "D12" => relay_under_an_expired_write_deadline_sends_nothing,
    Every: "" => a_dropped_relay_leaves_the_streams_usable,
    Every: "" => close_ends_a_relay,
    Every: "" => an_idle_relay_holds_no_buffer,
    Every: "P3" => a_relay_that_never_waits_leaves_the_core_to_others,
    Every: "S1"|"S2" => a_relay_splices_bulk_and_copies_small_messages,
    Every: "S5" => a_relay_of_bulk_ends_at_its_limit_of_bytes,
    Every: "S3" => pipes_are_pooled_and_one_with_bytes_in_it_is_closed,
];

/// The same promises, where every byte that can be is spliced.
pub const SPLICED: &[Behaviour] = spliced![
    "S1" => relay_moves_both_directions_at_once,
    "S1" => relay_passes_a_half_close_through,
    "S1" => relay_passes_a_half_close_through_the_other_way,
    "S1"|"S2" => relay_reports_a_reset_and_ends_both,
    "S2" => relay_counts_what_arrived_when_it_fails,
    "S4" => relay_sends_bytes_already_read_first,
    "S4" => relay_goes_on_with_bytes_that_a_peek_or_a_dropped_recv_left,
    "S5" => relay_ends_when_both_directions_are_idle,
    "S5" => relay_is_not_idle_while_one_direction_is_busy,
    "S5" => relay_ends_when_its_total_time_is_up,
    "S5" => relay_ends_at_its_limit_of_bytes,
    "S6" => a_slow_reader_stops_its_writer_and_nobody_else,
    "D12" => relay_under_an_expired_write_deadline_sends_nothing,
    "" => a_dropped_relay_leaves_the_streams_usable,
    "" => close_ends_a_relay,
    "" => an_idle_relay_holds_no_buffer,
    "P3" => a_relay_that_never_waits_leaves_the_core_to_others,
];

thread_local! {
    /// The path of the relays of this trial.
    static PATH: Cell<RelayPath> = const { Cell::new(RelayPath::Auto) };
}

fn relay<'a>(a: &'a TcpStream, b: &'a TcpStream) -> Relay<'a> {
    ringpark::io::relay(a, b).path(PATH.get())
}

/// A client and a server, plain, and our two ends between them.
struct Scene {
    client: StdStream,
    a: TcpStream,
    b: TcpStream,
    server: StdStream,
}

fn scene() -> Scene {
    let (a, client) = half();
    let (b, server) = half();
    Scene { client, a, b, server }
}

fn counts(transferred: Transferred) -> (u64, u64) {
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

/// S1, S2: both directions at once, counted exactly.
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

/// S1: the end of one direction passes through, and the other goes on.
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

/// S1: the same from the other side.
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

/// S1, S2: a reset on one side ends both and is reported, with the counts.
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

/// S2: the counts of a relay that failed are of bytes that were really sent.
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

/// S4: bytes already read go out first, in both directions, and count.
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

/// S4: bytes that were peeked at, or received for a recv that was dropped, are not forgotten.
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

/// S5: when nothing moves in either direction for the idle time, it ends.
fn relay_ends_when_both_directions_are_idle(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, server } = scene();
        client.write_all(b"ping").expect("there is room");
        let started = Instant::now();
        let relayed = relay(&a, &b).idle_timeout(ms(50)).into_future();
        let error = promptly("the relay", relayed).await.expect_err("nothing moves");
        assert!(started.elapsed() >= ms(50), "{:?}", started.elapsed());
        assert_eq!(counts(error.transferred), (4, 0));
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        drop(server);
    });
}

/// S5: traffic in one direction alone keeps it alive.
fn relay_is_not_idle_while_one_direction_is_busy(variant: &Variant) {
    variant.run(async {
        let Scene { client, a, b, mut server } = scene();
        let idle = ms(400);
        let relayed = ringpark::spawn(async move { relay(&a, &b).idle_timeout(idle).await });
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < idle + ms(200) {
            server.write_all(b"tick").expect("there is room");
            sent += 4;
            sleep(ms(20)).await;
        }
        assert!(!relayed.is_finished(), "it was busy all the time");
        until("all is through", || sys::readable_bytes(&client) as u64 == sent).await;
        drop(server);
        drop(client);
        let transferred = promptly("the relay", relayed).await.expect("no panic");
        // The client has left without reading, which may show as a reset.
        match transferred {
            Ok(transferred) => assert_eq!(counts(transferred), (0, sent)),
            Err(error) => assert_eq!(counts(error.transferred), (0, sent)),
        }
    });
}

/// S5: the total time ends it, however busy.
fn relay_ends_when_its_total_time_is_up(variant: &Variant) {
    variant.run(async {
        let Scene { client, a, b, server } = scene();
        let writing = std::thread::spawn(move || {
            let mut client = client;
            while client.write_all(&[1; 1000]).is_ok() {}
        });
        let reading = std::thread::spawn(move || {
            let (mut server, mut sink) = (server, vec![0; 100_000]);
            let mut total = 0;
            while let Ok(count @ 1..) = server.read(&mut sink) {
                total += count as u64;
            }
            total
        });
        let started = Instant::now();
        let relayed = relay(&a, &b).timeout(ms(60)).idle_timeout(HOUR).into_future();
        let error = promptly("the relay", relayed).await.expect_err("the time is up");
        assert!(started.elapsed() >= ms(60) && started.elapsed() < ms(60) + PROMPT);
        let transferred = error.transferred;
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        drop((a, b));
        until("both have ended", || writing.is_finished() && reading.is_finished()).await;
        writing.join().expect("no panic");
        let arrived = reading.join().expect("no panic");
        assert_eq!(counts(transferred), (arrived, 0), "{arrived} bytes arrived");
    });
}

/// S5: a limit of bytes ends it; not one byte more goes through.
fn relay_ends_at_its_limit_of_bytes(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, server } = scene();
        let limit = 10_000;
        let writing = std::thread::spawn(move || {
            // The relay ends before all is read.
            drop(client.write_all(&[1; 50_000]));
        });
        let reading = std::thread::spawn(move || {
            let (mut server, mut all) = (server, Vec::new());
            // It may end with a reset, since bytes were left unread.
            drop(server.read_to_end(&mut all));
            all.len() as u64
        });
        let relayed = relay(&a, &b).limit(limit).into_future();
        let transferred = match promptly("the relay", relayed).await {
            Ok(transferred) => transferred,
            Err(error) => error.transferred,
        };
        assert_eq!(counts(transferred), (limit, 0));
        b.close().await.expect("the first close");
        drop(a);
        until("both have ended", || writing.is_finished() && reading.is_finished()).await;
        writing.join().expect("no panic");
        assert_eq!(reading.join().expect("no panic"), limit);
    });
}

/// S6: a slow reader stops its writer, with bounded memory, and nobody else.
fn a_slow_reader_stops_its_writer_and_nobody_else(variant: &Variant) {
    variant.run(async {
        let Scene { client: mut writer, a, b, server: mut slow } = scene();
        let first = ringpark::spawn(async move { relay(&a, &b).await });
        let Scene { mut client, a, b, server } = scene();
        let second = ringpark::spawn(async move { relay(&a, &b).await });

        writer.set_nonblocking(true).expect("the option is known");
        let (mut sent, mut quiet) = (0, 0);
        // Until nothing has moved for a while: the kernel's buffers are full on all four sockets.
        while quiet < 50 {
            match writer.write(&[1; 65_536]) {
                Ok(count) => (sent, quiet) = (sent + count as u64, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    quiet += 1;
                    sleep(ms(2)).await;
                }
            }
            assert!(sent < 64 << 20, "nothing stops the writer");
        }
        let metrics = ringpark::metrics();
        assert!(metrics.leases < 100, "what is received ahead is bounded: {metrics:?}");

        // The other relay goes on.
        let rounds = variant.scale(200);
        for _ in 0..rounds {
            client.write_all(b"ping").expect("there is room");
            let mut server = server.try_clone().expect("a descriptor is free");
            let reading = std::thread::spawn(move || server.read_exact(&mut [0; 4]));
            until("the bytes are through", || reading.is_finished()).await;
            reading.join().expect("no panic").expect("the bytes come");
        }
        drop(client);
        assert!(plain_to_end(server).await.is_empty());
        let transferred = promptly("the second relay", second).await.expect("no panic");
        let transferred = transferred.expect("both ends are well");
        assert_eq!(counts(transferred), (4 * rounds, 0));

        // And the slow one gets everything when it reads at last.
        drop(writer);
        let reading = std::thread::spawn(move || {
            let (mut sink, mut total) = (vec![0; 1 << 20], 0);
            loop {
                match slow.read(&mut sink).expect("bytes come") {
                    0 => return total,
                    count => total += count as u64,
                }
            }
        });
        until("all has been read", || reading.is_finished()).await;
        assert_eq!(reading.join().expect("a clean end"), sent);
        let transferred = promptly("the first relay", first).await.expect("no panic");
        assert_eq!(counts(transferred.expect("both ends are well")), (sent, 0));
    });
}

/// D12: under an expired write deadline it sends nothing and reports TimedOut.
fn relay_under_an_expired_write_deadline_sends_nothing(variant: &Variant) {
    variant.run(async {
        let Scene { mut client, a, b, server } = scene();
        client.write_all(b"lost").expect("there is room");
        wait_buffered(&a, 4);
        b.set_write_deadline(Some(past()));
        let error = promptly("the relay", relay(&a, &b).into_future()).await.expect_err("too late");
        assert_eq!(counts(error.transferred), (0, 0));
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        drop(b);
        assert!(plain_to_end(server).await.is_empty());
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

/// An idle relay holds no buffer, however many there are.
fn an_idle_relay_holds_no_buffer(variant: &Variant) {
    variant.run(async {
        let mut kept = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let Scene { mut client, a, b, server } = scene();
            client.write_all(b"ping").expect("there is room");
            tasks.push(ringpark::spawn(async move { relay(&a, &b).await }));
            kept.push((client, server));
        }
        for (_, server) in &kept {
            until("the bytes are through", || sys::readable_bytes(server) == 4).await;
        }
        until("no lease is out", || ringpark::metrics().leases == 0).await;
        for (_, server) in &mut kept {
            server.read_exact(&mut [0; 4]).expect("the bytes are there");
        }
        drop(kept);
        for task in tasks {
            let transferred = promptly("a relay", task).await.expect("no panic");
            assert_eq!(counts(transferred.expect("a clean end")), (4, 0));
        }
    });
}

/// P3: a task whose descriptors are always ready never has to wait; the others have their turn all
/// the same.
fn a_relay_that_never_waits_leaves_the_core_to_others(variant: &Variant) {
    variant.run(async {
        // Both ends of one connection: what is written to one comes back at the other, for ever.
        let (one, other) = pair();
        one.write_all("round and round").await.0.unwrap();
        let endless = ringpark::spawn(async move { relay(&one, &other).await.map(drop) });
        let (a, b) = pair();
        for _ in 0..100 {
            a.write_all("x").await.0.unwrap();
            assert_eq!(b.recv().await.unwrap().as_deref(), Some(&b"x"[..]));
        }
        sleep(Duration::from_millis(1)).await;
        assert!(!endless.is_finished());
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
    });
}

/// S1, S2: bulk goes through pipes, what is small through leases, and the counts hold on the way from
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
            let copied = ringpark::metrics().relayed_copied;
            for _ in 0..20 {
                client.write_all(b"small").expect("there is room");
                until("it is through", || sys::readable_bytes(&server) == 5).await;
                server.read_exact(&mut [0; 5]).expect("the bytes are there");
            }
            let metrics = ringpark::metrics();
            assert!(metrics.relayed_copied > copied, "small messages are copied: {metrics:?}");
            assert_eq!(
                metrics.relayed_copied + metrics.relayed_spliced,
                offset + 100 * (offset / bulk)
            );
        }
        // With faults every piece may be small, so that there is no bulk to be seen.
        let spliced = ringpark::metrics().relayed_spliced;
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

/// S5: the limit holds to the byte where bulk is spliced, in both directions together.
fn a_relay_of_bulk_ends_at_its_limit_of_bytes(variant: &Variant) {
    variant.run(async {
        let Scene { client, a, b, server } = scene();
        let limit = (5 << 20) + 123;
        let ends = [client, server].map(|stream| {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a descriptor is free");
                // The relay ends before all is read.
                let writing = std::thread::spawn(move || drop(writer.write_all(&[1; 8 << 20])));
                let (mut reader, mut sink, mut total) = (stream, vec![0; 1 << 16], 0);
                // It ends with a reset, since bytes were left unread.
                while let Ok(count @ 1..) = reader.read(&mut sink) {
                    total += count as u64;
                }
                drop(reader);
                writing.join().expect("no panic");
                total
            })
        });
        let relayed = ringpark::io::relay(&a, &b).path(RelayPath::Splice).limit(limit);
        let error = promptly("the relay", relayed.into_future()).await.expect_err("the limit");
        let Transferred { a_to_b, b_to_a } = error.transferred;
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        // What one direction had been allowed may have found no room when the other ended it all.
        assert!(a_to_b + b_to_a <= limit, "{a_to_b} + {b_to_a} of {limit}");
        assert!(a_to_b + b_to_a >= limit - (2 << 20), "{a_to_b} + {b_to_a} of {limit}");
        a.close().await.expect("the first close");
        b.close().await.expect("the first close");
        until("both have ended", || ends.iter().all(|end| end.is_finished())).await;
        let [client, server] = ends.map(|end| end.join().expect("no panic"));
        assert!(client <= b_to_a && server <= a_to_b);
    });
}

/// S3: relays one after the other share their pipes; one that ends with bytes in its pipe does not
/// leave them to the next.
fn pipes_are_pooled_and_one_with_bytes_in_it_is_closed(variant: &Variant) {
    variant.run(async {
        let mut most = 0;
        for round in 0..20_u8 {
            let Scene { mut client, a, b, mut server } = scene();
            let stuck = round % 4 == 3;
            let relayed = ringpark::spawn(async move {
                ringpark::io::relay(&a, &b).path(RelayPath::Splice).await
            });
            if stuck {
                // Nobody reads: bytes are left in the pipe.
                client.set_nonblocking(true).expect("the option is known");
                let mut quiet = 0;
                while quiet < 20 {
                    match client.write(&[round; 65_536]) {
                        Ok(1..) => quiet = 0,
                        _ => {
                            quiet += 1;
                            sleep(ms(1)).await;
                        }
                    }
                }
                relayed.abort();
                assert!(relayed.await.unwrap_err().is_cancelled());
            } else {
                client.write_all(&[round; 1000]).expect("there is room");
                until("the bytes are through", || sys::readable_bytes(&server) == 1000).await;
                let mut got = [0; 1000];
                server.read_exact(&mut got).expect("the bytes are there");
                assert_eq!(got, [round; 1000], "the bytes of another relay");
                drop((client, server));
                promptly("the relay", relayed).await.expect("no panic").expect("a clean end");
            }
            let pipes = sys::descriptors().into_values();
            let pipes = pipes.filter(|path| path.to_string_lossy().starts_with("pipe:")).count();
            most = most.max(pipes);
        }
        let others = 3 * 2;
        assert!(most <= others + 4, "{most} ends of pipes are open");
    });
}
