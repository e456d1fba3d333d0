//! Deadlines: per handle and direction, absolute, movable while an operation is pending.

use std::io::{Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringpark::io::written;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "D1" => expired_deadline_fails_reads_though_bytes_are_buffered,
    Every: "D1" => expired_deadline_fails_reads_of_bytes_already_in_our_buffers,
    Every: "D2" => expired_deadline_fails_writes_though_there_is_room,
    Every: "D3" => clearing_one_direction_of_past_deadlines_makes_it_wait_until_close,
    Every: "D3" => clearing_one_direction_of_past_deadlines_makes_it_wait_for_bytes,
    Every: "D4" => a_deadline_cleared_and_set_again_ends_reads,
    Every: "D4" => a_deadline_cleared_and_set_again_ends_accepts,
    Every: "D5" => a_past_deadline_set_by_another_task_ends_a_pending_read,
    Every: "D5" => a_past_deadline_set_by_another_task_ends_a_pending_recv,
    Every: "D5" => a_past_deadline_set_by_another_task_ends_a_pending_write,
    Every: "D5" => a_past_deadline_set_by_another_task_ends_a_pending_accept,
    Every: "D14" => a_deadline_moved_ahead_lets_a_pending_read_go_on,
    Every: "D6" => deadlines_are_never_early_and_at_most_a_tenth_late,
    Every: "D7" => deadlines_from_a_nanosecond_to_a_second_end_a_copy_loop,
    Every: "D8" => an_hour_long_deadline_set_anew_each_time_never_fires,
    Every: "D9" => tasks_moving_deadlines_while_reading_and_writing_never_hang,
    Every: "D10" => a_buffer_read_into_in_vain_is_never_touched_again,
    Every: "D10" => a_buffer_written_in_vain_is_never_read_again,
    Every: "D13" => a_write_cut_short_by_its_deadline_tells_how_many_bytes_went_out,
    Every: "D13" => a_vectored_write_cut_short_by_its_deadline_tells_how_many_bytes_went_out,
    Every: "D15" => the_deadline_of_one_direction_spares_the_other,
];

/// More than the buffers of a connection hold.
const MORE_THAN_FITS: usize = 32 << 20;

/// An expired deadline fails a read even with data buffered, again and again.
fn expired_deadline_fails_reads_though_bytes_are_buffered(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        plain.write_all(b"hello").expect("there is room");
        wait_buffered(&ours, 5);
        ours.set_read_deadline(Some(past()));
        for _ in 0..100 {
            let (result, bytes) = ours.read(Vec::with_capacity(16)).await;
            assert_timed_out(result);
            assert!(bytes.is_empty(), "no byte is read");
            let (result, bytes) = ours.peek(Vec::with_capacity(16)).await;
            assert_timed_out(result);
            assert!(bytes.is_empty(), "no byte is read");
            assert_timed_out(ours.recv().await);
        }
        ours.set_read_deadline(Some(Instant::now() + HOUR));
        assert_eq!(receive(&ours, 5).await, b"hello");
    });
}

/// The same where the bytes have left the kernel before the deadline is set.
fn expired_deadline_fails_reads_of_bytes_already_in_our_buffers(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        {
            // A recv that is started and dropped may leave a reception going on behind the scenes.
            let mut recv = pin!(ours.recv());
            start(recv.as_mut()).await;
        }
        plain.write_all(b"hello").expect("there is room");
        for _ in 0..20 {
            sleep(ms(1)).await;
        }
        ours.set_read_deadline(Some(past()));
        for _ in 0..10 {
            assert_timed_out(ours.recv().await);
            assert_timed_out(ours.read(Vec::with_capacity(16)).await.0);
        }
        ours.set_read_deadline(None);
        assert_eq!(receive(&ours, 5).await, b"hello");
    });
}

/// The same for writes with room in the buffer.
fn expired_deadline_fails_writes_though_there_is_room(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        ours.set_write_deadline(Some(past()));
        for _ in 0..100 {
            let (result, bytes) = ours.write(b"lost".to_vec()).await;
            assert_timed_out(result);
            assert_eq!(bytes, b"lost", "the buffer comes back as it was");
            let (result, bytes) = ours.write_all(b"lost".to_vec()).await;
            let count = written(result.as_ref().expect_err("a time-out"));
            assert_eq!(count.unwrap_or(0), 0, "nothing went out");
            assert_timed_out(result);
            assert_eq!(bytes, b"lost", "the buffer comes back as it was");
            let (result, buffers) = ours.write_vectored(vec![b"lo".to_vec(), b"st".to_vec()]).await;
            assert_timed_out(result);
            assert_eq!(buffers.concat(), b"lost");
        }
        ours.set_write_deadline(Some(Instant::now() + HOUR));
        send(&ours, b"found").await;
        ours.close().await.expect("the first close");
        let mut all = Vec::new();
        plain.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all, b"found");
    });
}

/// Both in the past, one direction cleared: it waits until close, which is no time-out.
fn clearing_one_direction_of_past_deadlines_makes_it_wait_until_close(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        ours.set_deadline(Some(past()));
        assert_timed_out(ours.read(vec![0; 8]).await.0);
        ours.set_read_deadline(None);
        let mut read = pin!(ours.read(vec![0; 8]));
        start(read.as_mut()).await;
        assert_timed_out(ours.write(b"x".to_vec()).await.0);
        let closer = ringpark::spawn({
            let ours = ours.clone();
            async move { ours.close().await }
        });
        assert_closed(promptly("the read", read).await.0);
        closer.await.expect("no panic").expect("the first close");
    });
}

/// The same, ended by bytes.
fn clearing_one_direction_of_past_deadlines_makes_it_wait_for_bytes(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        ours.set_deadline(Some(past()));
        ours.set_read_deadline(None);
        let mut read = pin!(ours.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        sleep(ms(5)).await;
        start(read.as_mut()).await;
        plain.write_all(b"x").expect("there is room");
        let (result, bytes) = promptly("the read", read).await;
        assert_eq!((result.expect("a byte"), bytes), (1, b"x".to_vec()));
    });
}

/// Clear, then set 10 ms ahead: returns.
fn a_deadline_cleared_and_set_again_ends_reads(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        for _ in 0..5 {
            ours.set_read_deadline(Some(past()));
            assert_timed_out(ours.recv().await);
            ours.set_read_deadline(None);
            ours.set_read_deadline(Some(Instant::now() + ms(10)));
            assert_timed_out(promptly("the recv", ours.recv()).await);
            ours.set_read_deadline(None);
            ours.set_read_deadline(Some(Instant::now() + ms(10)));
            assert_timed_out(promptly("the read", ours.read(vec![0; 8])).await.0);
        }
    });
}

/// The same for accepts.
fn a_deadline_cleared_and_set_again_ends_accepts(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..5 {
            listener.set_accept_deadline(Some(past()));
            assert_timed_out(listener.accept().await);
            listener.set_accept_deadline(None);
            listener.set_accept_deadline(Some(Instant::now() + ms(10)));
            assert_timed_out(promptly("the accept", listener.accept()).await);
        }
        let plain = std::net::TcpStream::connect(address).expect("the listener listens");
        listener.set_accept_deadline(Some(past()));
        assert_timed_out(listener.accept().await);
        listener.set_accept_deadline(None);
        let (_stream, peer) = promptly("the accept", listener.accept()).await.expect("one waits");
        assert_eq!(peer, plain.local_addr().expect("it is connected"));
    });
}

/// Another task sets a past deadline: the pending read returns at once.
fn a_past_deadline_set_by_another_task_ends_a_pending_read(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let mut read = pin!(ours.read(vec![0; 8]));
        start(read.as_mut()).await;
        set_past_from_another_task(&ours).await;
        let started = Instant::now();
        assert_timed_out(promptly("the read", read).await.0);
        assert!(started.elapsed() < PROMPT);
    });
}

/// The same for a read into a lease.
fn a_past_deadline_set_by_another_task_ends_a_pending_recv(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let mut recv = pin!(ours.recv());
        start(recv.as_mut()).await;
        set_past_from_another_task(&ours).await;
        assert_timed_out(promptly("the recv", recv).await);
    });
}

/// The same for a write that has no room.
fn a_past_deadline_set_by_another_task_ends_a_pending_write(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let mut write = pin!(ours.write_all(vec![7; MORE_THAN_FITS]));
        start(write.as_mut()).await;
        sleep(ms(5)).await;
        set_past_from_another_task(&ours).await;
        assert_timed_out(promptly("the write", write).await.0);
    });
}

/// The same for an accept.
fn a_past_deadline_set_by_another_task_ends_a_pending_accept(variant: &Variant) {
    variant.run(async {
        let (listener, _) = listener().await;
        let listener = Rc::new(listener);
        let mut accept = pin!(listener.accept());
        start(accept.as_mut()).await;
        let mover = listener.clone();
        ringpark::spawn(async move { mover.set_accept_deadline(Some(past())) })
            .await
            .expect("no panic");
        assert_timed_out(promptly("the accept", accept).await);
    });
}

async fn set_past_from_another_task(stream: &Rc<ringpark::net::TcpStream>) {
    let stream = stream.clone();
    ringpark::spawn(async move { stream.set_deadline(Some(past())) }).await.expect("no panic");
}

/// A deadline that is moved ahead before it expires does not end the read that waits under it.
fn a_deadline_moved_ahead_lets_a_pending_read_go_on(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        ours.set_read_deadline(Some(Instant::now() + HOUR));
        let mut read = pin!(ours.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        let first = Instant::now() + ms(20);
        ours.set_read_deadline(Some(first));
        start(read.as_mut()).await;
        // Only a move that came before the first deadline shows anything.
        ours.set_read_deadline(Some(Instant::now() + HOUR));
        if Instant::now() >= first {
            return;
        }
        sleep(ms(30)).await;
        start(read.as_mut()).await;
        plain.write_all(b"x").expect("there is room");
        assert_eq!(promptly("the read", read).await.0.expect("a byte"), 1);
    });
}

/// Never early; late by at most 10 % from 10 ms up. A busy machine makes single ones late, so
/// the best of several is judged: what is wrong in the timers makes all of them late.
fn deadlines_are_never_early_and_at_most_a_tenth_late(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        for wanted in [1, 5, 10, 15, 30, 70].map(ms) {
            let mut best = Duration::MAX;
            for _ in 0..20 {
                let started = Instant::now();
                ours.set_read_deadline(Some(started + wanted));
                assert_timed_out(ours.read(vec![0; 8]).await.0);
                let taken = started.elapsed();
                assert!(taken >= wanted, "{wanted:?} took only {taken:?}");
                best = best.min(taken);
                if wanted < ms(10) || best <= wanted.mul_f32(1.1) {
                    break;
                }
            }
            let exact = wanted < ms(10) || variant.has_faults();
            assert!(exact || best <= wanted.mul_f32(1.1), "{wanted:?} took at best {best:?}");
        }
    });
}

/// Deadlines from 1 ns to 1 s on a copy loop all end in TimedOut.
fn deadlines_from_a_nanosecond_to_a_second_end_a_copy_loop(variant: &Variant) {
    let longest: u64 = if variant.scale(10) == 10 { 1_000_000_000 } else { 20_000_000 };
    variant.run(async {
        for nanos in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, longest] {
            let (ours, mut plain) = half();
            let writer = std::thread::spawn(move || while plain.write_all(&[7; 4096]).is_ok() {});
            ours.set_deadline(Some(Instant::now() + Duration::from_nanos(nanos)));
            let error = loop {
                match ours.recv().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the peer does not end"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{nanos} ns: {error}");
            ours.close().await.expect("the first close");
            writer.join().expect("the writer ends with the connection");
        }
    });
}

/// An hour-long deadline set anew before each of 1000 reads and writes: no false time-out, no
/// growth in timers.
fn an_hour_long_deadline_set_anew_each_time_never_fires(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let rounds = variant.scale(1000);
        let echo = ringpark::spawn(async move {
            while let Some(lease) = other.recv().await.expect("no false time-out") {
                other.set_deadline(Some(Instant::now() + HOUR));
                other.write_all(lease).await.0.expect("no false time-out");
            }
        });
        let before = ringpark::runtime::metrics().timers;
        for round in 0..rounds {
            ours.set_deadline(Some(Instant::now() + HOUR));
            send(&ours, &round.to_ne_bytes()).await;
            ours.set_deadline(Some(Instant::now() + HOUR));
            assert_eq!(receive(&ours, 8).await, round.to_ne_bytes());
            let timers = ringpark::runtime::metrics().timers;
            assert!(timers <= before + 4, "round {round}: {timers} timers, {before} before");
        }
        ours.close().await.expect("the first close");
        echo.await.expect("no panic");
    });
}

/// Three tasks moving deadlines, reading and writing without pause: no hang, no crash.
fn tasks_moving_deadlines_while_reading_and_writing_never_hang(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let (ours, other) = (Rc::new(ours), Rc::new(other));
        let rounds = variant.scale(5000);
        let mover = ringpark::spawn({
            let (ours, mut rng) = (ours.clone(), variant.rng());
            async move {
                for _ in 0..rounds {
                    let at = Instant::now() + Duration::from_nanos(rng.u64(0..200_000));
                    match rng.u32(0..4) {
                        0 => ours.set_read_deadline(Some(at)),
                        1 => ours.set_write_deadline(Some(at)),
                        2 => ours.set_deadline(Some(at)),
                        _ => ours.set_deadline(None),
                    }
                    ringpark::yield_now().await;
                }
                ours.set_deadline(Some(past()));
            }
        });
        let reader = ringpark::spawn({
            let (ours, mover) = (ours.clone(), Rc::new(mover));
            let until_moved = mover.clone();
            async move {
                while !until_moved.is_finished() {
                    if let Err(error) = ours.read(Vec::with_capacity(512)).await.0 {
                        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
                        ringpark::yield_now().await;
                    }
                }
            }
        });
        let writer = ringpark::spawn({
            let ours = ours.clone();
            async move {
                while !reader.is_finished() {
                    if let Err(error) = ours.write(vec![1; 512]).await.0 {
                        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
                    }
                    ringpark::yield_now().await;
                }
                reader.await.expect("no panic");
            }
        });
        let echo = ringpark::spawn({
            let other = other.clone();
            async move {
                while let Ok(Some(lease)) = other.recv().await {
                    if other.write_all(lease).await.0.is_err() {
                        break;
                    }
                }
            }
        });
        promptly("the writer", writer).await.expect("no panic");
        other.close().await.expect("the first close");
        promptly("the echo", echo).await.expect("no panic");
    });
}

/// After a timed-out read its buffer is the caller's: the kernel never touches it again.
fn a_buffer_read_into_in_vain_is_never_touched_again(variant: &Variant) {
    variant.run(async {
        let mut rng = variant.rng();
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        let mut checker = pattern.checker();
        let (mut sent, mut kept) = (0, Vec::new());
        for _ in 0..variant.scale(300) {
            ours.set_read_deadline(Some(Instant::now() + Duration::from_micros(rng.u64(0..1500))));
            let (result, mut bytes) = ours.read(Vec::with_capacity(256)).await;
            match result {
                Ok(count) => {
                    assert_eq!(count, bytes.len());
                    checker.take(&bytes);
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
                    bytes.resize(256, 0xaa);
                    kept.push(bytes);
                }
            }
            if rng.bool() {
                let chunk = pattern.chunk(sent, rng.usize(1..200));
                plain.write_all(&chunk).expect("there is room");
                sent += chunk.len() as u64;
            }
        }
        ours.set_read_deadline(None);
        while checker.offset() < sent {
            checker.take(&ours.recv().await.expect("bytes wait").expect("the peer is there"));
        }
        assert!(kept.iter().all(|bytes| bytes.iter().all(|&byte| byte == 0xaa)));
    });
}

/// The same for writes: what is put into the buffer afterwards is never sent.
fn a_buffer_written_in_vain_is_never_read_again(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        let mut checker = pattern.checker();
        let (mut sent, mut kept) = (0, Vec::new());
        let mut sink = vec![0; 256 << 10];
        for _ in 0..4 {
            let bytes = pattern.bytes(sent, MORE_THAN_FITS);
            ours.set_write_deadline(Some(Instant::now() + ms(30)));
            let (result, mut bytes) = ours.write_all(bytes).await;
            let error = result.expect_err("nobody reads");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
            sent += written(&error).unwrap_or(0) as u64;
            bytes.fill(0xff);
            kept.push(bytes);
            // Make room: a send that still went on would now take the bytes of the new content.
            let count = plain.read(&mut sink).expect("bytes wait");
            checker.take(&sink[..count]);
            sleep(ms(2)).await;
        }
        ours.close().await.expect("the first close");
        drain(&mut plain, &mut checker);
        assert_eq!(checker.offset(), sent);
    });
}

/// A write cut short by its deadline says how many bytes went out.
fn a_write_cut_short_by_its_deadline_tells_how_many_bytes_went_out(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        let bytes = pattern.bytes(0, MORE_THAN_FITS);
        let mut write = pin!(ours.write_all(bytes));
        start(write.as_mut()).await;
        ours.set_write_deadline(Some(Instant::now() + ms(30)));
        let (result, bytes) = write.await;
        assert_eq!(bytes.len(), MORE_THAN_FITS, "the buffer comes back as it was");
        let count = cut_short(result);
        ours.close().await.expect("the first close");
        let mut checker = pattern.checker();
        drain(&mut plain, &mut checker);
        assert_eq!(checker.offset(), count);
    });
}

/// The same for several buffers at once.
fn a_vectored_write_cut_short_by_its_deadline_tells_how_many_bytes_went_out(variant: &Variant) {
    const PART: usize = 1 << 20;
    variant.run(async {
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        let parts = (0..MORE_THAN_FITS / PART)
            .map(|part| pattern.bytes((part * PART) as u64, PART))
            .collect::<Vec<_>>();
        let mut write = pin!(ours.write_vectored_all(parts));
        start(write.as_mut()).await;
        ours.set_write_deadline(Some(Instant::now() + ms(30)));
        let count = cut_short(write.await.0);
        ours.close().await.expect("the first close");
        let mut checker = pattern.checker();
        drain(&mut plain, &mut checker);
        assert_eq!(checker.offset(), count);
    });
}

fn cut_short(result: std::io::Result<()>) -> u64 {
    let error = result.expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    let count = written(&error).expect("the error tells how many bytes went out");
    assert!(count > 0 && count < MORE_THAN_FITS, "{count} bytes went out");
    count as u64
}

/// Reads to the end of the stream and checks what comes.
fn drain(plain: &mut std::net::TcpStream, checker: &mut Checker) {
    let mut sink = vec![0; 256 << 10];
    loop {
        match plain.read(&mut sink).expect("a clean end") {
            0 => return,
            count => checker.take(&sink[..count]),
        }
    }
}

/// A deadline of one direction leaves the other alone.
fn the_deadline_of_one_direction_spares_the_other(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        ours.set_read_deadline(Some(past()));
        send(&ours, b"out").await;
        ours.set_deadline(None);
        ours.set_write_deadline(Some(past()));
        plain.write_all(b"in").expect("there is room");
        assert_eq!(receive(&ours, 2).await, b"in");
        assert_timed_out(ours.write(b"x".to_vec()).await.0);
    });
}
