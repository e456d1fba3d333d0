//! Streams: several users of one handle, and the halves of one.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;

use ringpark::buf::Lease;
use ringpark::io::Descriptor;
use ringpark::net::{TcpStream, UnixStream};
use ringpark::time::{sleep, timeout};
use socket2::SockRef;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "M1" => readers_of_one_handle_get_the_bytes_in_turn,
    Every: "M1" => writers_of_one_handle_never_mix_their_bytes,
    Every: "M1" => a_reader_never_blocks_a_writer,
    Every: "M1" => a_reader_that_gives_up_hands_its_turn_on,
    Every: "R11" => recv_read_and_peek_mixed_keep_the_order,
    Every: "R11" => peek_shows_what_the_next_read_gets,
    Every: "R11" => peek_shows_bytes_that_a_dropped_recv_left,
    Every: "R11" => a_small_read_leaves_the_rest_of_a_message,
    Every: "R11" => every_kind_of_stream_is_received_from_in_one_way,
    Every: "R12" => half_close_with_owned_halves,
    Every: "R12" => dropping_the_write_half_shuts_down_writing,
    Every: "R12" => dropping_the_read_half_leaves_writing_alone,
    Every: "R12" => halves_reunite,
    Every: "R12" => halves_do_what_the_whole_does,
    Every: "R12" => halves_of_two_streams_do_not_reunite,
    Every: "A11" => streams_of_the_standard_library_can_join,
    Every: "M2" => many_connections_echo_at_once,
    Every: "M2" => both_directions_of_a_stream_are_busy_at_once,
];

/// Two tasks reading one handle get the bytes in turn, never mixed.
fn readers_of_one_handle_get_the_bytes_in_turn(variant: &Variant) {
    const RECORD: usize = 24;
    variant.run(async {
        let (ours, mut plain) = half();
        let ours = Rc::new(ours);
        let records = variant.scale(3000);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let stream = ours.clone();
                ringpark::spawn(async move {
                    let mut mine = Vec::new();
                    loop {
                        let (result, bytes) = stream.read_exact(Vec::with_capacity(RECORD)).await;
                        match result {
                            Ok(()) => mine.push(number_of(&bytes)),
                            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return mine,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let mut rng = variant.rng();
        let writer = std::thread::spawn(move || {
            let all: Vec<u8> =
                (0..records).flat_map(|n| n.to_ne_bytes().repeat(RECORD / 8)).collect();
            let mut rest = &all[..];
            while !rest.is_empty() {
                // In pieces that have nothing to do with the records.
                let (now, later) = rest.split_at(rng.usize(1..40).min(rest.len()));
                plain.write_all(now).expect("the readers read");
                rest = later;
            }
        });
        let mut all = Vec::new();
        for reader in readers {
            let mine = promptly("a reader", reader).await.expect("whole records only");
            assert!(mine.is_sorted(), "who reads later gets later bytes");
            assert!(!mine.is_empty(), "everybody has had a turn");
            all.extend(mine);
        }
        writer.join().expect("the readers read");
        all.sort_unstable();
        assert!(all.into_iter().eq(0..records), "every record once");
    });
}

fn number_of(record: &[u8]) -> u64 {
    let (number, rest) = record.split_first_chunk().expect("a record is longer than its number");
    assert!(rest.chunks(8).all(|chunk| chunk == number), "bytes of two records: {record:?}");
    u64::from_ne_bytes(*number)
}

/// The same for writers: what one writes stays in one piece.
fn writers_of_one_handle_never_mix_their_bytes(variant: &Variant) {
    const SIZE: usize = 40_000;
    variant.run(async {
        let (ours, plain) = half();
        let ours = Rc::new(ours);
        let each = variant.scale(100).max(10);
        let reader = std::thread::spawn(move || {
            let mut plain = plain;
            let mut counts = [0; 4];
            for _ in 0..each * 4 {
                let mut bytes = vec![0; SIZE];
                plain.read_exact(&mut bytes).expect("whole messages come");
                assert!(bytes.iter().all(|&byte| byte == bytes[0]), "two messages are mixed");
                counts[usize::from(bytes[0])] += 1;
            }
            counts
        });
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let stream = ours.clone();
                ringpark::spawn(async move {
                    for round in 0..each {
                        if round % 2 == 0 {
                            stream.write_all(vec![writer; SIZE]).await.0.expect("it reads");
                        } else {
                            let parts = vec![vec![writer; SIZE / 4]; 4];
                            stream.write_vectored_all(parts).await.0.expect("it reads");
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            promptly("a writer", writer).await.expect("no panic");
        }
        until("all has been read", || reader.is_finished()).await;
        assert_eq!(reader.join().expect("whole messages"), [each; 4]);
    });
}

/// A reader never blocks a writer, nor a writer a reader.
fn a_reader_never_blocks_a_writer(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let mut read = pin!(ours.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        let mut bytes = [0; 4];
        for _ in 0..10 {
            promptly("a write", ours.write_all(b"ping".to_vec())).await.0.expect("there is room");
            plain.read_exact(&mut bytes).expect("the bytes come");
            start(read.as_mut()).await;
        }
        let mut write = pin!(ours.write_all(vec![7; 32 << 20]));
        start(write.as_mut()).await;
        plain.write_all(b"x").expect("there is room");
        assert_eq!(promptly("the read", read).await.1, b"x");
        plain.write_all(b"y").expect("there is room");
        assert_eq!(promptly("a recv", ours.recv()).await.expect("bytes").expect("bytes")[0], b'y');
    });
}

/// Who waits for a turn and gives up, or gives up in its turn, does not hold up the others.
fn a_reader_that_gives_up_hands_its_turn_on(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        for round in 0..variant.scale(100).max(6) {
            let mut first = Box::pin(ours.read(Vec::with_capacity(1)));
            let mut second = Box::pin(ours.recv());
            let mut third = Box::pin(ours.read(Vec::with_capacity(1)));
            start(first.as_mut()).await;
            start(second.as_mut()).await;
            start(third.as_mut()).await;
            if round % 2 == 0 {
                drop(second);
                drop(first);
            } else {
                drop(first);
                ringpark::yield_now().await;
                drop(second);
            }
            plain.write_all(&[round as u8]).expect("there is room");
            let (result, bytes) = promptly("the third", third).await;
            assert_eq!((result.expect("a byte"), bytes), (1, vec![round as u8]));
        }
    });
}

/// Every way of reading, in any order, with messages of any size: the stream stays in order.
fn recv_read_and_peek_mixed_keep_the_order(variant: &Variant) {
    let total = variant.scale(8 << 20);
    variant.run_on(variant.builder().buffer_pool(16, 2048), async {
        let pattern = Pattern::new(variant.seed());
        let (ours, plain) = half();
        let writer = std::thread::spawn({
            let (pattern, mut rng) = (pattern.clone(), variant.rng());
            let mut plain = plain;
            move || {
                let mut sent = 0;
                while sent < total {
                    let len = rng.u64(1..6000).min(total - sent) as usize;
                    let chunk = pattern.chunk(sent, len);
                    plain.write_all(&chunk).expect("it reads");
                    sent += chunk.len() as u64;
                }
            }
        });
        let mut checker = pattern.checker();
        let mut rng = variant.rng();
        loop {
            match rng.u32(0..5) {
                0 => match promptly("a recv", ours.recv()).await.expect("bytes come") {
                    Some(lease) => checker.take(&lease),
                    None => break,
                },
                1 => {
                    let buffer = Vec::with_capacity(rng.usize(1..3000));
                    let (result, bytes) = promptly("a read", ours.read(buffer)).await;
                    if result.expect("bytes come") == 0 {
                        break;
                    }
                    checker.take(&bytes);
                }
                2 => {
                    let buffer = Vec::with_capacity(rng.usize(1..3000));
                    let (result, bytes) = promptly("a peek", ours.peek(buffer)).await;
                    if result.expect("bytes come") == 0 {
                        break;
                    }
                    assert_eq!(bytes, pattern.bytes(checker.offset(), bytes.len()));
                }
                3 => {
                    let count = rng.u64(1..3000).min(total - checker.offset()) as usize;
                    if count > 0 {
                        let read = ours.read_exact(Vec::with_capacity(count));
                        let (result, bytes) = promptly("a read_exact", read).await;
                        result.expect("bytes come");
                        checker.take(&bytes);
                    }
                }
                _ => {
                    let mut recv = pin!(ours.recv());
                    if let std::task::Poll::Ready(lease) = poll_once(recv.as_mut()).await {
                        match lease.expect("bytes come") {
                            Some(lease) => checker.take(&lease),
                            None => break,
                        }
                    }
                }
            }
        }
        assert_eq!(checker.offset(), total);
        until("all has been sent", || writer.is_finished()).await;
        writer.join().expect("it reads");
    });
}

/// Peek shows bytes and leaves them.
fn peek_shows_what_the_next_read_gets(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let mut peek = pin!(ours.peek(Vec::with_capacity(4)));
        start(peek.as_mut()).await;
        plain.write_all(b"header and body").expect("there is room");
        let (result, bytes) = promptly("the peek", peek).await;
        assert!(result.expect("bytes") > 0 && b"head".starts_with(&bytes));
        for _ in 0..3 {
            let (_, bytes) = promptly("a peek", ours.peek(Vec::with_capacity(100))).await;
            assert!(!bytes.is_empty() && b"header and body".starts_with(&bytes));
        }
        assert_eq!(receive(&ours, 7).await, b"header ");
        let (_, bytes) = promptly("a peek", ours.peek(Vec::with_capacity(100))).await;
        assert!(!bytes.is_empty() && b"and body".starts_with(&bytes));
        assert_eq!(receive(&ours, 8).await, b"and body");
    });
}

/// Peek also shows what a dropped recv has received.
fn peek_shows_bytes_that_a_dropped_recv_left(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        {
            let mut recv = pin!(ours.recv());
            start(recv.as_mut()).await;
        }
        plain.write_all(b"first").expect("there is room");
        sleep(ms(5)).await;
        plain.write_all(b"second").expect("there is room");
        let (result, bytes) = promptly("the peek", ours.peek(Vec::with_capacity(100))).await;
        assert!(result.expect("bytes") > 0);
        assert!(b"firstsecond".starts_with(&bytes));
        assert_eq!(receive(&ours, 11).await, b"firstsecond");
    });
}

/// A read smaller than what has arrived leaves the rest for the next.
fn a_small_read_leaves_the_rest_of_a_message(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        {
            let mut recv = pin!(ours.recv());
            start(recv.as_mut()).await;
        }
        plain.write_all(b"0123456789").expect("there is room");
        sleep(ms(3)).await;
        for &expected in b"01234" {
            let (result, bytes) = promptly("a read", ours.read(Vec::with_capacity(1))).await;
            assert_eq!((result.expect("a byte"), bytes), (1, vec![expected]));
        }
        let mut rest = Vec::new();
        while rest.len() < 5 {
            let lease = promptly("a recv", ours.recv()).await.expect("bytes come");
            rest.extend_from_slice(&lease.expect("not the end"));
        }
        assert_eq!(rest, b"56789");
    });
}

/// Owned halves: one task reads to the end while another writes and ends its side.
fn half_close_with_owned_halves(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let (reader, writer) = ours.into_split();
        let reading = ringpark::spawn(async move {
            let mut all = Vec::new();
            while let Some(lease) = reader.recv().await.expect("bytes come") {
                all.extend_from_slice(&lease);
            }
            all
        });
        writer.write_all("request").await.0.expect("the peer reads");
        writer.shutdown().await.expect("it is connected");
        let mut request = Vec::new();
        plain.read_to_end(&mut request).expect("a clean end");
        assert_eq!(request, b"request");
        plain.write_all(b"a late answer").expect("there is room");
        drop(plain);
        assert_eq!(promptly("the reader", reading).await.expect("no panic"), b"a late answer");
    });
}

/// Connections, halves, pipes, and descriptors of any kind.
fn every_kind_of_stream_is_received_from_in_one_way(variant: &Variant) {
    /// What comes in several pieces, if it does.
    macro_rules! rest {
        ($reader:expr, $first:expr, $total:expr) => {{
            let mut all = $first.to_vec();
            while all.len() < $total {
                let piece = promptly("bytes", $reader.recv()).await.expect("they come");
                all.extend_from_slice(&piece.expect("no end yet"));
            }
            all
        }};
    }

    /// Bytes that come late, bytes that a dropped `recv` has waited for, the end.
    macro_rules! received {
        ($reader:expr, $writer:expr) => {
            let mut late = pin!($reader.recv());
            assert!(poll_once(late.as_mut()).await.is_pending());
            $writer.write_all("late").await.0.expect("there is room");
            let first: Option<Lease> = promptly("bytes", late).await.expect("they come");
            assert_eq!(rest!($reader, first.expect("no end yet"), 4), b"late");
            assert!(poll_once(pin!($reader.recv())).await.is_pending());
            $writer.write_all("kept").await.0.expect("there is room");
            let first = promptly("bytes", $reader.recv()).await.expect("they come");
            assert_eq!(rest!($reader, first.expect("no end yet"), 4), b"kept");
            drop($writer);
            assert!(promptly("the end", $reader.recv()).await.expect("a clean end").is_none());
        };
    }
    variant.run(async {
        let (reader, writer) = pair();
        received!(reader, writer);
        let (reader, writer) = pair();
        let ((reader, _writing), (_reading, writer)) = (reader.into_split(), writer.into_split());
        received!(reader, writer);
        let (reader, writer) = UnixStream::pair().expect("a pair");
        received!(reader, writer);
        let (reader, writer) = ringpark::io::pipe().expect("a pipe");
        received!(reader, writer);
        let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let descriptor = |fd| Descriptor::new(fd).expect("it is open");
        let (reader, writer) = (descriptor(reader.into()), descriptor(writer.into()));
        received!(reader, writer);

        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let file = descriptor(std::fs::File::open(path).expect("it is there").into());
        let bytes = std::fs::read(path).expect("it is there");
        let first = promptly("bytes", file.recv()).await.expect("they are there");
        assert_eq!(rest!(file, first.expect("no end yet"), bytes.len()), bytes);
        assert!(promptly("the end", file.recv()).await.expect("it can be read").is_none());
    });
}

/// Addresses, readiness, deadlines, and all ways to read and write.
fn halves_do_what_the_whole_does(variant: &Variant) {
    variant.run(async {
        let (ours, theirs) = pair();
        let ours_at = theirs.peer_addr().expect("it is connected");
        let theirs_at = ours.peer_addr().expect("it is connected");
        let (reader, writer) = ours.into_split();
        let local = (reader.local_addr().expect("bound"), writer.local_addr().expect("bound"));
        assert_eq!(local, (ours_at, ours_at));
        let peer = (reader.peer_addr().expect("connected"), writer.peer_addr().expect("connected"));
        assert_eq!(peer, (theirs_at, theirs_at));

        promptly("room", writer.writable()).await.expect("there is room");
        writer.write_vectored_all(vec!["one", " two"]).await.0.expect("there is room");
        let (written, _) = writer.write_vectored(vec![" ", "three"]).await;
        let written = written.expect("there is room");
        assert_eq!(receive(&theirs, 7 + written).await, b"one two three"[..7 + written]);
        let (result, lent) = writer.write_all_zero_copy(vec![b'4'; 5]).await;
        result.expect("there is room");
        assert_eq!(receive(&theirs, 5).await, [b'4'; 5]);
        assert_eq!(promptly("the memory", lent).await.0, [b'4'; 5]);
        let sent =
            writer.write_with(|fd| SockRef::from(&fd).send(b"raw")).await.expect("there is room");
        assert_eq!(receive(&theirs, sent).await, b"raw"[..sent]);

        let mut readable = pin!(reader.readable());
        assert!(poll_once(readable.as_mut()).await.is_pending());
        theirs.write_all("answer").await.0.expect("there is room");
        promptly("bytes", readable).await.expect("they come");
        let (peeked, buffer) = reader.peek(Vec::with_capacity(3)).await;
        let peeked = peeked.expect("they are there");
        assert!(peeked > 0 && buffer == b"answer"[..peeked]);
        let (result, buffer) = reader.read_exact(Vec::with_capacity(6)).await;
        result.expect("they are there");
        assert_eq!(buffer, b"answer");
        reader.set_read_deadline(Some(past()));
        assert_timed_out(reader.read_with(|_| Ok(())).await);
        writer.write_all("on").await.0.expect("the other deadline is another");
        writer.set_write_deadline(Some(past()));
        assert_timed_out(writer.write(vec![1]).await.0);
    });
}

/// Dropping the write half is the end for the peer.
fn dropping_the_write_half_shuts_down_writing(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let (reader, writer) = ours.into_split();
        writer.write_all("all").await.0.expect("the peer reads");
        drop(writer);
        let mut all = Vec::new();
        plain.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all, b"all");
        plain.write_all(b"x").expect("there is room");
        let (result, bytes) = promptly("a read", reader.read(Vec::with_capacity(8))).await;
        assert_eq!((result.expect("a byte"), bytes), (1, b"x".to_vec()));
    });
}

/// Dropping the read half, even with a read in flight, leaves writing alone.
fn dropping_the_read_half_leaves_writing_alone(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let (reader, writer) = ours.into_split();
        {
            let mut recv = pin!(reader.recv());
            start(recv.as_mut()).await;
            sleep(ms(1)).await;
        }
        drop(reader);
        writer.write_all("still here").await.0.expect("the peer reads");
        let mut bytes = [0; 10];
        plain.read_exact(&mut bytes).expect("the bytes come");
        assert_eq!(&bytes, b"still here");
        drop(writer);
        let ended = std::thread::spawn(move || plain.read(&mut [0; 8]).expect("a clean end"));
        until("the peer sees the end", || ended.is_finished()).await;
        assert_eq!(ended.join().expect("a clean end"), 0);
    });
}

/// Two halves of one stream become that stream again.
fn halves_reunite(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let name = ours.local_addr().expect("it is connected");
        let (reader, writer) = ours.into_split();
        {
            let mut recv = pin!(reader.recv());
            start(recv.as_mut()).await;
        }
        let whole = reader.reunite(writer).expect("they belong together");
        assert_eq!(whole.local_addr().expect("it is connected"), name);
        plain.write_all(b"x").expect("there is room");
        assert_eq!(receive(&whole, 1).await, b"x");
        send(&whole, b"y").await;
        plain.read_exact(&mut [0]).expect("it was not shut down");
    });
}

/// Halves of two streams stay what they are.
fn halves_of_two_streams_do_not_reunite(variant: &Variant) {
    variant.run(async {
        let (one, _one_peer) = half();
        let (other, mut other_peer) = half();
        let (one_reader, _one_writer) = one.into_split();
        let (_other_reader, other_writer) = other.into_split();
        let error = one_reader.reunite(other_writer).expect_err("they are strangers");
        assert!(!error.to_string().is_empty());
        let (_reader, writer) = (error.0, error.1);
        writer.write_all("x").await.0.expect("the half is whole");
        other_peer.read_exact(&mut [0]).expect("it was not shut down");
    });
}

/// Sockets made elsewhere join, whatever mode they are in.
fn streams_of_the_standard_library_can_join(variant: &Variant) {
    variant.run(async {
        for nonblocking in [false, true] {
            let (ours, mut plain) = std_pair();
            ours.set_nonblocking(nonblocking).expect("the option is known");
            let ours = TcpStream::from_std(ours).expect("a stream can join");
            let mut read = pin!(ours.read(Vec::with_capacity(8)));
            start(read.as_mut()).await;
            sleep(ms(2)).await;
            start(read.as_mut()).await;
            plain.write_all(b"x").expect("there is room");
            assert_eq!(promptly("the read", read).await.1, b"x");
            let mut recv = pin!(timeout(ms(2), ours.recv()));
            assert!(recv.as_mut().await.is_err(), "it waits, it does not block");
        }
    });
}

/// Many connections at once, each with its own bytes.
fn many_connections_echo_at_once(variant: &Variant) {
    let connections = affordable(variant.scale(1000).max(100), 2);
    variant.run(async {
        let (listener, address) = listener().await;
        let server = ringpark::spawn(async move {
            for _ in 0..connections {
                let (stream, _) = listener.accept().await.expect("one comes");
                ringpark::spawn(async move {
                    while let Some(lease) = stream.recv().await.expect("bytes come") {
                        stream.write_all(lease).await.0.expect("it reads");
                    }
                });
            }
        });
        let clients: Vec<_> = (0..connections)
            .map(|number| {
                let pattern = Pattern::small(number);
                ringpark::spawn(async move {
                    let stream = TcpStream::connect(address).await.expect("it listens");
                    for round in 0..5 {
                        let message = pattern.bytes(round * 100, 500);
                        send(&stream, &message).await;
                        assert_eq!(receive(&stream, 500).await, message);
                    }
                    stream.shutdown(Shutdown::Write).await.expect("it is connected");
                    assert!(read_to_end(&stream).await.expect("a clean end").is_empty());
                })
            })
            .collect();
        for client in clients {
            client.await.expect("its own bytes");
        }
        server.await.expect("no panic");
    });
}

/// Both directions at full speed, with full buffers, do not hold each other up.
fn both_directions_of_a_stream_are_busy_at_once(variant: &Variant) {
    let total = variant.scale(64 << 20);
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (one, other) = pair();
        let mut tasks = Vec::new();
        for stream in [Rc::new(one), Rc::new(other)] {
            let (writer, pattern) = (stream.clone(), pattern.clone());
            let mut checker = pattern.checker();
            tasks.push(ringpark::spawn(async move {
                let mut sent = 0;
                while sent < total {
                    let chunk = pattern.chunk(sent, (total - sent).min(200_000) as usize);
                    sent += chunk.len() as u64;
                    writer.write_all(chunk).await.0.expect("it reads");
                }
            }));
            tasks.push(ringpark::spawn(async move {
                while checker.offset() < total {
                    let lease = stream.recv().await.expect("bytes come");
                    checker.take(&lease.expect("not the end"));
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}
