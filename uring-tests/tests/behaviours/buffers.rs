//! Buffers: owned ones come back, leased ones outlive whoever handed them out.

use std::io::Write;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use ringpark::buf::{IoBuf, Lease};
use ringpark::runtime::Feature;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "B1" => every_kind_of_buffer_can_be_written,
    Every: "B1" => every_kind_of_buffer_can_be_read_into,
    Every: "B1" => reading_into_a_slice_leaves_the_rest_alone,
    Every: "B2" => a_lease_can_be_shortened_from_both_ends,
    Every: "B2" => a_lease_becomes_bytes,
    Every: "B2" => a_lease_can_be_changed_and_sent_on,
    Every: "B3" => a_lease_may_be_dropped_on_another_thread,
    Every: "B3" => a_lease_outlives_its_runtime,
    Every: "B3" => a_lease_outlives_its_stream,
    Every: "B4" => leases_are_counted,
    Every: "B4" => a_pool_with_all_buffers_out_makes_readers_wait,
    Every: "B4" => a_lease_returned_from_another_thread_wakes_a_reader_that_waits,
    Every: "B4" => a_pool_of_one_small_buffer_carries_a_stream,
    Every: "B5" => one_slow_consumer_does_not_starve_the_rest,
    Every: "B5" => bulk_does_not_make_the_pool_grow_to_its_limit,
];

/// Whatever holds bytes can be written, and comes back.
fn every_kind_of_buffer_can_be_written(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        macro_rules! check {
            ($buffer:expr) => {{
                let (result, buffer) = ours.write_all($buffer).await;
                result.expect("the peer reads");
                assert_eq!(IoBuf::as_slice(&buffer), b"bytes");
                assert_eq!(receive(&other, 5).await, b"bytes");
            }};
        }
        check!(b"bytes".to_vec());
        check!(b"bytes".to_vec().into_boxed_slice());
        check!(Bytes::from_static(b"bytes"));
        check!(BytesMut::from(&b"bytes"[..]));
        check!(&b"bytes"[..]);
        check!("bytes");
        check!(String::from("bytes"));
        check!(b"some bytes more".to_vec().slice(5..10));
        check!(Bytes::from_static(b"some bytes more").slice(5..10));
        check!(b"some bytes more".to_vec().slice(3..).slice(2..=6));
        other.write_all("bytes").await.0.expect("the peer reads");
        let lease = ours.recv().await.expect("bytes come").expect("not the end");
        if lease.len() == 5 {
            check!(lease);
        }
    });
}

/// Whatever has room for bytes can be read into.
fn every_kind_of_buffer_can_be_read_into(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        macro_rules! check {
            ($buffer:expr) => {{
                send(&other, b"bytes").await;
                let (result, buffer) = ours.read_exact($buffer).await;
                result.expect("the peer sends");
                assert_eq!(&buffer[..], b"bytes");
            }};
        }
        check!(Vec::with_capacity(5));
        check!(vec![9; 5]);
        check!(vec![0; 5].into_boxed_slice());
        check!(BytesMut::with_capacity(5));
        // A vector that held more bytes than are read holds what was read, and nothing else.
        send(&other, b"ab").await;
        wait_buffered(&ours, 2);
        let (result, bytes) = ours.read(vec![9; 100]).await;
        assert_eq!(bytes.len(), result.expect("the peer sends"));
        assert!(b"ab".starts_with(&bytes));
    });
}

/// Reading into a part of a buffer leaves the rest of it alone.
fn reading_into_a_slice_leaves_the_rest_alone(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        send(&other, b"bytes").await;
        let (result, slice) = ours.read_exact(b"some ..... more".to_vec().slice(5..10)).await;
        result.expect("the peer sends");
        let whole = slice.into_inner();
        assert_eq!(&whole[..10], b"some bytes");
    });
}

/// Reads leases until so many bytes are there; hands out the first and the bytes of the others.
async fn first_lease(stream: &ringpark::net::TcpStream, count: usize) -> (Lease, Vec<u8>) {
    let first = stream.recv().await.expect("bytes come").expect("not the end");
    let mut rest = Vec::new();
    while first.len() + rest.len() < count {
        rest.extend_from_slice(&stream.recv().await.expect("bytes come").expect("not the end"));
    }
    (first, rest)
}

/// Parts of a lease can be taken off at both ends.
fn a_lease_can_be_shortened_from_both_ends(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let sent = b"0123456789";
        plain.write_all(sent).expect("there is room");
        let (mut lease, rest) = first_lease(&ours, sent.len()).await;
        let got = lease.len();
        assert_eq!([&lease[..], &rest[..]].concat(), sent);
        lease.advance(0);
        assert_eq!(lease.len(), got);
        lease.truncate(got + 5);
        assert_eq!(lease.len(), got, "truncating to more changes nothing");
        lease.advance(1);
        assert_eq!(&lease[..], &sent[1..got]);
        lease.truncate(got / 2);
        assert_eq!(&lease[..], &sent[1..1 + (got / 2).min(got - 1)]);
        lease.advance(lease.len());
        assert!(lease.is_empty());
    });
}

/// A lease becomes bytes, which can be cloned, cut and kept.
fn a_lease_becomes_bytes(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let sent = b"0123456789";
        plain.write_all(sent).expect("there is room");
        let (mut lease, rest) = first_lease(&ours, sent.len()).await;
        let got = lease.len();
        lease.advance(1);
        let address = lease.as_ptr();
        let bytes = lease.into_bytes();
        assert_eq!(bytes.as_ptr(), address, "without a copy");
        let copy = bytes.clone();
        let tail = Bytes::slice(&bytes, bytes.len() / 2..);
        drop(bytes);
        assert_eq!(copy, &sent[1..got]);
        assert!(copy.ends_with(&tail));
        drop((tail, copy));
        assert_eq!(rest, &sent[got..]);
        until("the buffer is back", || ringpark::runtime::metrics().leases == 0).await;
    });
}

/// A lease can be written to, and sent as it is.
fn a_lease_can_be_changed_and_sent_on(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        for _ in 0..10 {
            send(&other, b"abcde").await;
            let mut got = Vec::new();
            while got.len() < 5 {
                let mut lease = ours.recv().await.expect("bytes come").expect("not the end");
                lease.make_ascii_uppercase();
                let (result, lease) = ours.write_all(lease).await;
                result.expect("the peer reads");
                got.extend_from_slice(&lease);
            }
            assert_eq!(got, b"ABCDE");
            assert_eq!(receive(&other, 5).await, b"ABCDE");
        }
    });
}

/// A lease may go to another thread and be dropped there.
fn a_lease_may_be_dropped_on_another_thread(variant: &Variant) {
    variant.run_on(variant.builder().buffer_pool(8, 1024), async {
        let (ours, other) = pair();
        let (leases, dropper) = std::sync::mpsc::channel::<(Lease, u64)>();
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while let Ok((lease, number)) = dropper.recv() {
                assert!(lease.iter().all(|&byte| byte == number as u8));
                count += 1;
            }
            count
        });
        let rounds = variant.scale(2000);
        for number in 0..rounds {
            send(&other, &[number as u8; 100]).await;
            let mut got = 0;
            while got < 100 {
                let lease = promptly("a recv", ours.recv()).await;
                let lease = lease.expect("bytes come").expect("not the end");
                got += lease.len();
                leases.send((lease, number)).expect("the thread receives");
            }
        }
        drop(leases);
        assert!(thread.join().expect("the bytes stay as they were") >= rounds);
        until("all buffers are back", || ringpark::runtime::metrics().leases == 0).await;
    });
}

/// A lease may be kept when the runtime has ended; so may the bytes made of one.
fn a_lease_outlives_its_runtime(variant: &Variant) {
    let mut kept = Vec::new();
    for round in 0..3_u8 {
        let pair = variant.run(async {
            let (ours, mut plain) = half();
            plain.write_all(&[round; 64]).expect("there is room");
            let one = ours.recv().await.expect("bytes come").expect("not the end");
            plain.write_all(&[round; 64]).expect("there is room");
            let other = ours.recv().await.expect("bytes come").expect("not the end").into_bytes();
            (one, other)
        });
        kept.push(pair);
    }
    // New runtimes have come and gone; nobody has written over what is still leased.
    for (round, (mut one, other)) in kept.into_iter().enumerate() {
        assert!(one.iter().chain(&other).all(|&byte| byte == round as u8));
        one.fill(0xff);
        std::thread::spawn(move || drop(other)).join().expect("it can be dropped anywhere");
        drop(one);
    }
}

/// A lease may be kept when its stream is closed.
fn a_lease_outlives_its_stream(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        plain.write_all(&[7; 64]).expect("there is room");
        let lease = ours.recv().await.expect("bytes come").expect("not the end");
        ours.close().await.expect("the first close");
        drop(ours);
        let (second, mut plain) = half();
        plain.write_all(&[8; 64]).expect("there is room");
        let other = second.recv().await.expect("bytes come").expect("not the end");
        assert!(lease.iter().all(|&byte| byte == 7));
        assert!(other.iter().all(|&byte| byte == 8));
    });
}

/// The metrics tell how many leases are out.
fn leases_are_counted(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        assert_eq!(ringpark::runtime::metrics().leases, 0);
        let mut held = Vec::new();
        for count in 1..=5 {
            plain.write_all(&[1; 10]).expect("there is room");
            held.push(ours.recv().await.expect("bytes come").expect("not the end"));
            assert!(
                ringpark::runtime::metrics().leases >= count,
                "{:?}",
                ringpark::runtime::metrics()
            );
        }
        assert!(ringpark::runtime::metrics().buffers > 0);
        drop(held);
        // What was sent in one piece may have come in several.
        while sys::readable_bytes(&ours) > 0 {
            drop(ours.recv().await.expect("bytes come"));
        }
        ours.close().await.expect("the first close");
        until("no lease is out", || ringpark::runtime::metrics().leases == 0).await;
    });
}

/// When all buffers are out a recv waits, which is no error, and goes on when one comes back; or it
/// is served in some other way. In any case nothing is lost.
fn a_pool_with_all_buffers_out_makes_readers_wait(variant: &Variant) {
    let total = 512 * 64;
    variant.run_on(variant.builder().buffer_pool(4, 512), async {
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        plain.write_all(&pattern.bytes(0, total)).expect("there is room");
        let mut checker = pattern.checker();
        let mut held = Vec::new();
        while checker.offset() < total as u64 {
            let mut recv = Box::pin(ours.recv());
            let lease = match ringpark::time::timeout(ms(20), recv.as_mut()).await {
                Ok(lease) => lease,
                Err(_) => {
                    start(recv.as_mut()).await;
                    assert!(!held.is_empty(), "it waits, and nobody has a lease");
                    held.clear();
                    promptly("the recv", recv).await
                }
            };
            let lease = lease.expect("no error").expect("not the end");
            checker.take(&lease);
            held.push(lease);
        }
    });
}

/// The same when the lease comes back from another thread, to a core that sleeps.
fn a_lease_returned_from_another_thread_wakes_a_reader_that_waits(variant: &Variant) {
    variant.run_on(variant.builder().buffer_pool(1, 512), async {
        for _ in 0..variant.scale(100) {
            let (ours, mut plain) = half();
            plain.write_all(&[1; 2048]).expect("there is room");
            let mut got = 0;
            let mut held = Vec::new();
            let waiting = loop {
                let mut recv = Box::pin(ours.recv());
                match ringpark::time::timeout(ms(3), recv.as_mut()).await {
                    Ok(lease) => held.push(lease.expect("no error").expect("not the end")),
                    Err(_) => break recv,
                }
            };
            got += held.iter().map(|lease| lease.len()).sum::<usize>();
            if got == 2048 {
                continue;
            }
            let thread = std::thread::spawn(move || drop(held));
            let lease = promptly("the recv", waiting).await.expect("no error");
            assert!(!lease.expect("not the end").is_empty());
            thread.join().expect("it can be dropped anywhere");
        }
    });
}

/// One small buffer is enough for a whole stream, only slower.
fn a_pool_of_one_small_buffer_carries_a_stream(variant: &Variant) {
    variant.run_on(variant.builder().buffer_pool(1, 256), async {
        let pattern = Pattern::new(variant.seed());
        let total = variant.scale(4 << 20);
        let (ours, other) = pair();
        let writer = ringpark::spawn({
            let pattern = pattern.clone();
            async move {
                other.write_all(pattern.bytes(0, total as usize)).await.0.expect("it reads");
            }
        });
        let mut checker = pattern.checker();
        while let Some(lease) = promptly("a recv", ours.recv()).await.expect("no error") {
            checker.take(&lease);
        }
        assert_eq!(checker.offset(), total);
        writer.await.expect("no panic");
    });
}

/// A consumer that sits on its leases holds up itself, not the others.
fn one_slow_consumer_does_not_starve_the_rest(variant: &Variant) {
    variant.run_on(variant.builder().buffer_pool(16, 512), async {
        let (slow, mut slow_peer) = half();
        slow_peer.set_nonblocking(true).expect("the option is known");
        // As much as fits: far more than the pool.
        while slow_peer.write(&[1; 4096]).is_ok() {}
        let mut held = Vec::new();
        {
            let mut recv = pin!(slow.recv());
            if let std::task::Poll::Ready(lease) = poll_once(recv.as_mut()).await {
                held.push(lease.expect("no error").expect("not the end"));
            }
        }
        // It takes one lease and keeps it; what is received for it in advance is its share.
        let (fast, other) = pair();
        for round in 0..variant.scale(500) {
            send(&other, &round.to_ne_bytes()).await;
            let mut got = Vec::new();
            while got.len() < 8 {
                let lease = promptly("a recv of the fast one", fast.recv()).await;
                got.extend_from_slice(&lease.expect("no error").expect("not the end"));
            }
            assert_eq!(got, round.to_ne_bytes());
        }
        drop(held);
    });
}

/// Streams in bulk, whose readers are slower than their writers, take the buffers that they need, and
/// not the 1024 that there may be; then messages come as before.
fn bulk_does_not_make_the_pool_grow_to_its_limit(variant: &Variant) {
    const STREAMS: usize = 8;
    let len = variant.scale(16 << 20).max(4 << 20) as usize;
    variant.run(async {
        let readers: Vec<_> = (0..STREAMS)
            .map(|index| {
                let (ours, mut plain) = half();
                let pattern = Pattern::new(variant.seed() + index as u64);
                let bytes = pattern.bytes(0, len);
                let writer = std::thread::spawn(move || {
                    plain.write_all(&bytes).expect("the reader reads");
                    plain
                });
                ringpark::spawn(async move {
                    let mut checker = pattern.checker();
                    let (mut left, mut most) = (len, 0);
                    while left > 0 {
                        let lease = ours.recv().await.expect("bytes come").expect("not the end");
                        checker.take(&lease);
                        left -= lease.len();
                        // The others come first, and the kernel goes on.
                        ringpark::yield_now().await;
                        most = most.max(ringpark::runtime::metrics().buffers);
                    }
                    let mut plain = writer.join().expect("all was read");
                    for _ in 0..10 {
                        plain.write_all(b"small").expect("the reader reads");
                        assert_eq!(receive(&ours, 5).await, b"small");
                    }
                    most
                })
            })
            .collect();
        // Where the kernel takes a buffer for each receive they are small, and there may be 2048.
        let small = variant.needs_uring() && variant.lacks(Feature::IncrementalBuffers);
        let allowed = if small { 2048 } else { 512 };
        for reader in readers {
            let most = promptly("a reader", reader).await.expect("every byte in order");
            assert!(most <= allowed, "{most} buffers for {STREAMS} streams");
        }
    });
}
