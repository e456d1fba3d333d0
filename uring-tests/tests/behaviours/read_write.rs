//! Reading and writing: every byte arrives once and in order, and errors say what happened.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringpark::io::futures::{Readiness, Recv, WriteAll};
use ringpark::io::{written, Descriptor};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "R1" => a_zero_length_read_returns_zero_and_is_not_the_end,
    Every: "R1" => a_zero_length_write_returns_zero,
    Every: "R3" => a_reset_is_connection_reset_and_not_the_end,
    Every: "R3" => a_reset_wakes_a_parked_read,
    Every: "R4" => writing_to_a_closed_peer_is_a_broken_pipe_and_no_signal,
    Every: "R6" => a_closure_is_called_again_when_ready_to_read,
    Every: "R6" => a_closure_is_called_again_when_ready_to_write,
    Every: "R6" => a_closure_stands_under_deadlines,
    Every: "R6" => readiness_is_told_without_reading,
    Every: "R6" => readiness_waits_behind_a_receive_that_was_dropped,
    Every: "R6" => named_futures_that_are_kept_after_their_end_block_nobody,
    Every: "R7" => vectored_writes_go_on_where_they_stopped,
    Every: "R7" => more_vectors_than_the_kernel_takes_at_once_work,
    Every: "R8" => interrupts_are_never_seen,
    Every: "R9" => a_gibibyte_in_random_chunks_arrives_byte_for_byte,
    Every: "R5" => pipes_carry_bytes_both_ways_of_reading,
    Faultless: "R5" => an_eventfd_can_be_read_and_written,
    Every: "R10" => the_end_is_told_again_and_again,
    Every: "R10" => read_exact_tells_an_early_end,
    Every: "R5" => a_write_to_a_full_pipe_waits_for_its_reader,
];

/// A zero-length read returns 0 at once, and is not the end.
fn a_zero_length_read_returns_zero_and_is_not_the_end(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        for _ in 0..3 {
            let (result, bytes) = promptly("the read", ours.read(Vec::new())).await;
            assert_eq!((result.expect("nothing is asked for"), bytes.len()), (0, 0));
            promptly("the read", ours.read_exact(Vec::new())).await.0.expect("nothing is asked");
        }
        plain.write_all(b"x").expect("there is room");
        wait_buffered(&ours, 1);
        assert_eq!(ours.read(Vec::new()).await.0.expect("nothing is asked for"), 0);
        assert_eq!(receive(&ours, 1).await, b"x");
        let (reader, _writer) = pipe();
        let reader = Descriptor::new(reader).expect("a pipe can join");
        assert_eq!(promptly("a read", reader.read(Vec::new())).await.0.expect("nothing"), 0);
    });
}

/// Writing nothing is no error, and sends nothing.
fn a_zero_length_write_returns_zero(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = half();
        assert_eq!(ours.write(Vec::new()).await.0.expect("nothing is asked for"), 0);
        ours.write_all("").await.0.expect("nothing is asked for");
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(ours.write_vectored(none).await.0.expect("nothing is asked for"), 0);
        ours.write_vectored_all(vec![Vec::new(), Vec::new()]).await.0.expect("nothing");
        drop(ours);
        assert!(plain_to_end(plain).await.is_empty());
    });
}

fn reset(stream: std::net::TcpStream) {
    let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("the option is known");
}

/// RST is ConnectionReset, not the end.
fn a_reset_is_connection_reset_and_not_the_end(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = half();
        reset(plain);
        assert_kind(ours.read(vec![0; 8]).await.0, ErrorKind::ConnectionReset);
        let (ours, plain) = half();
        reset(plain);
        assert_kind(ours.recv().await, ErrorKind::ConnectionReset);
        let (ours, plain) = half();
        reset(plain);
        assert_kind(ours.read_exact(vec![0; 8]).await.0, ErrorKind::ConnectionReset);
    });
}

/// The same for reads that wait.
fn a_reset_wakes_a_parked_read(variant: &Variant) {
    variant.run(async {
        for with_lease in [false, true] {
            let (ours, plain) = half();
            let mut read = pin!(async {
                if with_lease {
                    ours.recv().await.map(drop)
                } else {
                    ours.read(vec![0; 8]).await.0.map(drop)
                }
            });
            start(read.as_mut()).await;
            ringpark::time::sleep(ms(2)).await;
            start(read.as_mut()).await;
            reset(plain);
            assert_kind(promptly("the read", read).await, ErrorKind::ConnectionReset);
        }
    });
}

/// Writing to a closed peer is BrokenPipe, never SIGPIPE.
fn writing_to_a_closed_peer_is_a_broken_pipe_and_no_signal(variant: &Variant) {
    sys::arm_sigpipe();
    variant.run(async {
        for kind in 0..4 {
            let (ours, plain) = half();
            drop(plain);
            // Once the end has been seen, the answer to the next bytes makes it a broken pipe.
            assert!(ours.recv().await.expect("a clean end").is_none());
            let error = loop {
                let result = match kind {
                    0 => ours.write(vec![1; 64]).await.0.map(drop),
                    1 => ours.write_all(vec![1; 64]).await.0,
                    2 => ours.write_vectored(vec![vec![1; 64]]).await.0.map(drop),
                    _ => ours.write_vectored_all(vec![vec![1; 64], vec![2; 64]]).await.0,
                };
                if let Err(error) = result {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            assert_kind(ours.write(vec![1; 64]).await.0, ErrorKind::BrokenPipe);
        }
        let (ours, _plain) = half();
        ours.shutdown(std::net::Shutdown::Write).await.expect("it is connected");
        let error = ours.write_all(vec![1; 64]).await.0.expect_err("writing is over");
        assert_eq!((error.kind(), written(&error).unwrap_or(0)), (ErrorKind::BrokenPipe, 0));
    });
}

fn recv_now(fd: impl AsRawFd, bytes: &mut [u8]) -> std::io::Result<usize> {
    // SAFETY: the slice is valid for writing its length.
    let count = unsafe { libc::recv(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    usize::try_from(count).map_err(|_| std::io::Error::last_os_error())
}

fn send_now(fd: impl AsRawFd, bytes: &[u8]) -> std::io::Result<usize> {
    // SAFETY: the slice is valid for reading its length.
    let count = unsafe {
        libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
    };
    usize::try_from(count).map_err(|_| std::io::Error::last_os_error())
}

/// A closure does its own system call, which cannot block, and is called again when ready.
fn a_closure_is_called_again_when_ready_to_read(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let calls = Rc::new(std::cell::Cell::new(0));
        let mut bytes = [0; 16];
        let counted = calls.clone();
        {
            let mut read = pin!(ours.read_with(|fd| {
                counted.set(counted.get() + 1);
                recv_now(fd, &mut bytes)
            }));
            start(read.as_mut()).await;
            assert!(calls.get() >= 1 || variant.has_faults(), "it is tried first");
            ringpark::time::sleep(ms(5)).await;
            start(read.as_mut()).await;
            assert!(calls.get() <= 3, "{} calls while nothing happens", calls.get());
            plain.write_all(b"abc").expect("there is room");
            assert_eq!(promptly("the read", read).await.expect("bytes"), 3);
        }
        assert_eq!(&bytes[..3], b"abc");
        let error = ours.read_with(|_| Err::<(), _>(std::io::Error::other("mine"))).await;
        assert_eq!(error.expect_err("the closure's").to_string(), "mine");
    });
}

/// The same for writing.
fn a_closure_is_called_again_when_ready_to_write(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let pattern = Pattern::new(variant.seed());
        let total = 16 << 20;
        let reader = std::thread::spawn({
            let mut checker = pattern.checker();
            move || {
                let mut sink = vec![0; 64 << 10];
                while checker.offset() < total {
                    let count = plain.read(&mut sink).expect("bytes come");
                    assert!(count > 0, "the end came early");
                    checker.take(&sink[..count]);
                }
            }
        });
        let mut sent = 0;
        while sent < total {
            let chunk = pattern.chunk(sent, (total - sent).min(1 << 20) as usize);
            sent += promptly("a write", ours.write_with(|fd| send_now(fd, &chunk)))
                .await
                .expect("the peer reads") as u64;
        }
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the right bytes");
    });
}

/// Closures stand under the same deadlines.
fn a_closure_stands_under_deadlines(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        ours.set_read_deadline(Some(Instant::now() + ms(10)));
        let mut bytes = [0; 8];
        let read = ours.read_with(|fd| recv_now(fd, &mut bytes));
        assert_timed_out(promptly("the read", read).await);
        ours.set_read_deadline(Some(past()));
        let read = ours.read_with(|_| -> std::io::Result<()> { panic!("it must not be called") });
        assert_timed_out(promptly("the read", read).await);
    });
}

/// Readiness alone can be waited for; it takes no bytes.
fn readiness_is_told_without_reading(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        promptly("writable", ours.writable()).await.expect("there is room");
        let mut readable = pin!(ours.readable());
        start(readable.as_mut()).await;
        plain.write_all(b"x").expect("there is room");
        promptly("readable", readable).await.expect("a byte");
        promptly("readable again", ours.readable()).await.expect("the byte is still there");
        assert_eq!(receive(&ours, 1).await, b"x");
        drop(plain);
        promptly("readable", ours.readable()).await.expect("the end is something to read");
        assert!(ours.recv().await.expect("a clean end").is_none());
    });
}

/// A dropped `recv` may have left a receive under way: readiness is told all the same, and what came is
/// there for the next.
fn readiness_waits_behind_a_receive_that_was_dropped(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        let mut readable = pin!(ours.readable());
        start(readable.as_mut()).await;
        plain.write_all(b"x").expect("there is room");
        promptly("readable", readable).await.expect("a byte");
        assert_eq!(receive(&ours, 1).await, b"x");

        // What came before the receive could end is there at once; the wait for it is kept.
        assert!(poll_once(pin!(ours.recv())).await.is_pending());
        plain.write_all(b"y").expect("there is room");
        let mut readable = pin!(ours.readable());
        promptly("readable", readable.as_mut()).await.expect("a byte");
        assert_eq!(promptly("the byte", receive(&ours, 1)).await, b"y");
    });
}

/// The futures of a connection, in a struct.
struct Kept<'a> {
    readable: Readiness<'a>,
    receive: Recv<'a>,
    writable: Readiness<'a>,
    write: WriteAll<'a, &'static str>,
}

/// A struct holds the futures of a connection by their names. Those that are over, but kept, are not in
/// the way of others.
fn named_futures_that_are_kept_after_their_end_block_nobody(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let mut kept = Kept {
            readable: ours.readable(),
            receive: ours.recv(),
            writable: ours.writable(),
            write: ours.write_all("y"),
        };
        plain.write_all(b"x").expect("there is room");
        promptly("readable", &mut kept.readable).await.expect("a byte");
        let lease = promptly("bytes", &mut kept.receive).await.expect("a byte");
        assert_eq!(lease.expect("no end")[..], *b"x");
        promptly("writable", &mut kept.writable).await.expect("there is room");
        promptly("a write", &mut kept.write).await.0.expect("there is room");

        plain.write_all(b"z").expect("there is room");
        assert_eq!(promptly("bytes", receive(&ours, 1)).await, b"z");
        promptly("a write", ours.write_all("!")).await.0.expect("there is room");
        let mut bytes = [0; 2];
        plain.read_exact(&mut bytes).expect("both have been written");
        assert_eq!(bytes, *b"y!");
        drop(kept);
    });
}

/// A vectored write that could only be done in part goes on where it stopped.
fn vectored_writes_go_on_where_they_stopped(variant: &Variant) {
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let mut rng = variant.rng();
        let (ours, plain) = half();
        let total = variant.scale(64 << 20).max(8 << 20);
        let reader = check_on_a_thread(plain, &pattern, total);
        let mut sent = 0;
        while sent < total {
            let mut parts = Vec::new();
            for _ in 0..rng.usize(1..40) {
                let len = (total - sent).min(rng.u64(0..200_000)) as usize;
                let part = if rng.u32(0..8) == 0 { Bytes::new() } else { pattern.chunk(sent, len) };
                sent += part.len() as u64;
                parts.push(part);
            }
            let whole: Vec<usize> = parts.iter().map(Bytes::len).collect();
            let (result, parts) = promptly("a write", ours.write_vectored_all(parts)).await;
            result.expect("the peer reads");
            assert!(parts.iter().map(Bytes::len).eq(whole), "the buffers come back as they were");
        }
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the right bytes");
    });
}

/// More vectors than IOV_MAX in one call.
fn more_vectors_than_the_kernel_takes_at_once_work(variant: &Variant) {
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, plain) = half();
        let (parts, each) = (5000, 7);
        let total = (parts * each) as u64;
        let reader = check_on_a_thread(plain, &pattern, total + each as u64);
        let vectors: Vec<_> =
            (0..parts).map(|part| pattern.bytes((part * each) as u64, each)).collect();
        promptly("the write", ours.write_vectored_all(vectors)).await.0.expect("the peer reads");
        // One call may take fewer, but says how many bytes that were.
        let vectors = vec![pattern.bytes(total, each); 1];
        let (result, _) = ours.write_vectored(vectors).await;
        assert!(matches!(result, Ok(count) if count > 0 && count <= each));
        let rest = each - result.expect("just seen");
        ours.write_all(pattern.bytes(total + (each - rest) as u64, rest)).await.0.expect("read");
        let empty: Vec<Vec<u8>> = vec![Vec::new(); 3000];
        ours.write_vectored_all(empty).await.0.expect("nothing is asked for");
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the right bytes");
    });
}

/// Reads so many bytes of the pattern, with short pauses so that the writer meets a full buffer.
fn check_on_a_thread(
    mut plain: std::net::TcpStream,
    pattern: &Pattern,
    total: u64,
) -> std::thread::JoinHandle<()> {
    let mut checker = pattern.checker();
    std::thread::spawn(move || {
        let mut sink = vec![0; 300_000];
        while checker.offset() < total {
            let count = plain.read(&mut sink).expect("bytes come");
            assert!(count > 0, "the end came early, at {}", checker.offset());
            checker.take(&sink[..count]);
        }
    })
}

/// Signals interrupt the core again and again; nobody sees EINTR.
fn interrupts_are_never_seen(variant: &Variant) {
    let thread = sys::Interruptible::this_thread();
    let stop = Arc::new(AtomicBool::new(false));
    let interrupter = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut count = 0_u32;
            while !stop.load(Ordering::Acquire) {
                thread.interrupt();
                count += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            count
        }
    });
    variant.run(async {
        let (listener, address) = listener().await;
        for _ in 0..variant.scale(60).max(6) {
            let (stream, accepted) = futures_util::future::join(
                ringpark::net::TcpStream::connect(address),
                listener.accept(),
            )
            .await;
            let (stream, (other, _)) = (stream.expect("no EINTR"), accepted.expect("no EINTR"));
            for _ in 0..50 {
                send(&stream, b"ping").await;
                assert_eq!(receive(&other, 4).await, b"ping");
                other.write_vectored_all(vec!["po", "ng"]).await.0.expect("no EINTR");
                let lease = stream.recv().await.expect("no EINTR").expect("not the end");
                let rest = 4 - lease.len();
                receive(&stream, rest).await;
            }
            ringpark::time::sleep(ms(1)).await;
            let readable = ringpark::time::timeout(ms(1), stream.readable());
            assert!(readable.await.is_err(), "nothing to read and no EINTR");
            stream.close().await.expect("no EINTR");
            assert!(other.recv().await.expect("no EINTR").is_none());
        }
    });
    stop.store(true, Ordering::Release);
    let count = interrupter.join().expect("the thread lives as long as this one");
    assert!(count > 0, "nothing was interrupted");
}

/// 1 GiB through a pair with random chunk sizes arrives byte for byte.
fn a_gibibyte_in_random_chunks_arrives_byte_for_byte(variant: &Variant) {
    let total = variant.scale(1 << 30);
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, other) = pair();
        let writer = ringpark::spawn({
            let (pattern, mut rng) = (pattern.clone(), variant.rng());
            async move {
                let mut sent = 0;
                while sent < total {
                    let len = match rng.u32(0..4) {
                        0 => rng.usize(1..100),
                        1 => rng.usize(1..10_000),
                        _ => rng.usize(1..500_000),
                    };
                    let chunk = pattern.chunk(sent, len.min((total - sent) as usize));
                    sent += chunk.len() as u64;
                    if rng.u32(0..8) == 0 {
                        let half = chunk.len() / 2;
                        let parts = vec![chunk.slice(..half), chunk.slice(half..)];
                        ours.write_vectored_all(parts).await.0.expect("the peer reads");
                    } else {
                        ours.write_all(chunk).await.0.expect("the peer reads");
                    }
                }
                ours.close().await.expect("the first close");
            }
        });
        let mut checker = pattern.checker();
        let mut rng = variant.rng();
        let mut buffer = Vec::with_capacity(300_000);
        loop {
            match rng.u32(0..3) {
                0 => match other.recv().await.expect("bytes come") {
                    Some(lease) => checker.take(&lease),
                    None => break,
                },
                1 => {
                    let (result, bytes) = other.read(Vec::with_capacity(rng.usize(1..5000))).await;
                    if result.expect("bytes come") == 0 {
                        break;
                    }
                    checker.take(&bytes);
                }
                _ => {
                    let (result, bytes) = other.read(buffer).await;
                    if result.expect("bytes come") == 0 {
                        break;
                    }
                    checker.take(&bytes);
                    buffer = bytes;
                }
            }
        }
        assert_eq!(checker.offset(), total);
        writer.await.expect("no panic");
    });
}

/// Pipes carry bytes, through blocking and non-blocking ends.
fn pipes_carry_bytes_both_ways_of_reading(variant: &Variant) {
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (reader, writer) = pipe();
        let reader = Descriptor::new(reader).expect("a pipe can join");
        let writer = Descriptor::new(writer).expect("a pipe can join");
        let total = variant.scale(16 << 20);
        let task = ringpark::spawn({
            let pattern = pattern.clone();
            async move {
                let mut sent = 0;
                while sent < total {
                    let chunk = pattern.chunk(sent, (total - sent).min(100_000) as usize);
                    sent += chunk.len() as u64;
                    writer.write_all(chunk).await.0.expect("the reader reads");
                }
            }
        });
        let mut checker = pattern.checker();
        loop {
            let (result, bytes) = reader.read(Vec::with_capacity(30_000)).await;
            if result.expect("bytes come") == 0 {
                break;
            }
            checker.take(&bytes);
        }
        assert_eq!(checker.offset(), total);
        task.await.expect("no panic");
    });
}

/// Any descriptor that can be polled can join: an eventfd.
fn an_eventfd_can_be_read_and_written(variant: &Variant) {
    variant.run(async {
        // SAFETY: the call takes no pointer.
        let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(number >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us.
        let owned =
            unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) };
        let counter = Descriptor::new(owned).expect("an eventfd can join");
        let mut read = pin!(counter.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        start(read.as_mut()).await;
        counter.write_all(7_u64.to_ne_bytes().to_vec()).await.0.expect("there is room");
        let (result, bytes) = promptly("the read", read).await;
        assert_eq!(result.expect("a count"), 8);
        assert_eq!(bytes, 7_u64.to_ne_bytes());
    });
}

/// The end of a stream stays the end.
fn the_end_is_told_again_and_again(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        plain.write_all(b"x").expect("there is room");
        drop(plain);
        assert_eq!(receive(&ours, 1).await, b"x");
        for _ in 0..5 {
            assert!(promptly("a recv", ours.recv()).await.expect("a clean end").is_none());
            assert_eq!(promptly("a read", ours.read(vec![0; 8])).await.0.expect("the end"), 0);
            assert_eq!(promptly("a peek", ours.peek(vec![0; 8])).await.0.expect("the end"), 0);
        }
    });
}

/// An end in the middle of what was asked for is UnexpectedEof.
fn read_exact_tells_an_early_end(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        plain.write_all(b"abc").expect("there is room");
        drop(plain);
        let (result, bytes) = ours.read_exact(Vec::with_capacity(8)).await;
        assert_kind(result, ErrorKind::UnexpectedEof);
        assert_eq!(bytes, b"abc", "what came before the end is in the buffer");
    });
}

/// A write to a full pipe waits, and lets the other tasks go on.
fn a_write_to_a_full_pipe_waits_for_its_reader(variant: &Variant) {
    variant.run(async {
        let (reader, writer) = pipe();
        let writer = Descriptor::new(writer).expect("a pipe can join");
        let total = 1 << 20;
        let mut write = pin!(writer.write_all(vec![5; total]));
        start(write.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        start(write.as_mut()).await;
        let thread = std::thread::spawn(move || {
            let mut all = vec![0; total];
            std::fs::File::from(reader).read_exact(&mut all).expect("bytes come");
            all
        });
        promptly("the write", write).await.0.expect("the reader reads");
        assert!(thread.join().expect("all came").iter().all(|&byte| byte == 5));
    });
}
