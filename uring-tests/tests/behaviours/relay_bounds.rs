//! What bounds a relay: times, a number of bytes, the slower side, and what it may hold.

use std::future::IntoFuture;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ringpark::io::{RelayPath, Transferred};
use ringpark::time::sleep;

use crate::harness::*;
use crate::relay::{counts, scene, Scene};

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "S5" => a_relay_of_bulk_ends_at_its_limit_of_bytes,
    Every: "S3" => pipes_are_pooled_and_one_with_bytes_in_it_is_closed,
    Every: "S8" => a_relay_that_is_told_to_copy_never_splices,
];

/// Those that hold whatever path the bytes take.
pub const BY_EACH_PATH: &[Behaviour] = relays![
    Every: "S5" => relay_ends_when_both_directions_are_idle,
    Every: "S5" => relay_is_not_idle_while_one_direction_is_busy,
    Every: "S5" => relay_ends_when_its_total_time_is_up,
    Every: "S5" => relay_ends_at_its_limit_of_bytes,
    Every: "S6" => a_slow_reader_stops_its_writer_and_nobody_else,
    Every: "D12" => relay_under_an_expired_write_deadline_sends_nothing,
    Every: "S9" => an_idle_relay_holds_no_buffer,
    Every: "P3" => a_relay_that_never_waits_leaves_the_core_to_others,
];

/// When nothing moves in either direction for the idle time, it ends.
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

/// Traffic in one direction alone keeps it alive.
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

/// The total time ends it, however busy.
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

/// A limit of bytes ends it; not one byte more goes through.
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

/// A slow reader stops its writer, with bounded memory, and nobody else.
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
        let metrics = ringpark::runtime::metrics();
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

/// Under an expired write deadline it sends nothing and reports TimedOut.
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
        until("no lease is out", || ringpark::runtime::metrics().leases == 0).await;
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

/// A task whose descriptors are always ready never has to wait; the others have their turn all
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

/// The limit holds to the byte where bulk is spliced, in both directions together.
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
        let Transferred { a_to_b, b_to_a, .. } = error.transferred;
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

/// A relay that is told to copy does not splice, however much bulk it sees.
fn a_relay_that_is_told_to_copy_never_splices(variant: &Variant) {
    let len = variant.scale(8 << 20).max(1 << 20);
    variant.run(async {
        let Scene { mut client, a, b, mut server } = scene();
        let sending = std::thread::spawn(move || client.write_all(&vec![7; len as usize]));
        let receiving = std::thread::spawn(move || {
            std::io::copy(&mut server, &mut std::io::sink()).expect("the bytes come")
        });
        let relayed =
            ringpark::spawn(async move { ringpark::io::relay(&a, &b).path(RelayPath::Copy).await });
        let relayed = promptly("the relay", relayed).await.expect("no panic");
        assert_eq!(counts(relayed.expect("both ends are well")), (len, 0));
        let metrics = ringpark::runtime::metrics();
        assert_eq!((metrics.relayed_copied, metrics.relayed_spliced), (len, 0));
        sending.join().expect("no panic").expect("all is read");
        assert_eq!(receiving.join().expect("no panic"), len);
    });
}

/// Relays one after the other share their pipes; one that ends with bytes in its pipe does not
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
