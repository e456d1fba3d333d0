//! Zero-copy writes: the bytes arrive as those of any write do, and the buffer comes back when, and only
//! when, the kernel has let go of it.
//!
//! The tests have nothing but loopback, over which the kernel copies in the end. But it does so when
//! the bytes are delivered: what waits in the socket is still the caller's memory.

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::net::TcpStream as Plain;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringpark::buf::{IoBuf, Usage, ZeroCopy};
use ringpark::io::written;
use ringpark::net::{TcpStream, UnixStream};
use ringpark::runtime::Feature;
use ringpark::time::{sleep, timeout};
use ringpark::{Backend, Builder};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "K1" => zero_copy_writes_of_any_size_arrive_byte_for_byte,
    Every: "K1" => zero_copy_writes_keep_their_place_among_others,
    Every: "K2" => zero_copy_over_loopback_is_reported_as_copied,
    Every: "K3" => a_buffer_comes_back_when_the_peer_has_the_bytes,
    Every: "K3" => a_buffer_whose_return_nobody_awaits_is_kept_for_the_kernel,
    Every: "X3" => dropped_zero_copy_writes_leave_nothing_behind,
    Every: "K1" => zero_copy_writes_take_what_others_own,
    Every: "K4" => zero_copy_writes_to_a_unix_socket_are_ordinary_ones,
    Every: "R4" => a_zero_copy_write_to_a_closed_peer_is_a_broken_pipe,
    Every: "R3" => a_reset_ends_a_zero_copy_write_and_the_loan,
    Every: "D1" => a_zero_copy_write_stands_under_its_deadline,
    Every: "C1" => close_wakes_a_zero_copy_write_and_does_not_wait_for_the_peer,
    Every: "X5" => a_runtime_dropped_with_zero_copy_writes_in_flight,
    Every: "X5" => the_end_does_not_wait_for_peers_that_do_not_read,
    PlainUring: "Y4" => zero_copy_writes_are_ordinary_ones_where_they_are_forbidden,
    PlainUring: "Y2" => zero_copy_writes_are_ordinary_ones_where_memory_cannot_be_locked,
];

/// Whether the kernel sends out of the caller's memory, at times at least.
fn lends(variant: &Variant) -> bool {
    variant.needs_uring() && !variant.lacks(Feature::ZeroCopy)
}

/// A connection that has room for a mebibyte on our side and little on the peer's, so that what the peer
/// does not read waits in our socket.
fn lopsided() -> (TcpStream, Plain) {
    let (ours, plain) = half();
    socket2::SockRef::from(&plain).set_recv_buffer_size(64 << 10).expect("the option is known");
    let ours_option = ours.with_fd(|fd| socket2::SockRef::from(&fd).set_send_buffer_size(1 << 20));
    ours_option.expect("it is open").expect("the option is known");
    (ours, plain)
}

/// Reads to the end, or to a reset, on a thread.
fn reading(mut plain: Plain, mut take: impl FnMut(&[u8]) + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = vec![0; 50_000];
        loop {
            match plain.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => take(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    })
}

/// Writes all, and awaits the return.
async fn write_and_return<B: IoBuf>(stream: &TcpStream, buffer: B) -> (B, Usage) {
    let (result, lent) = promptly("the write", stream.write_all_zero_copy(buffer)).await;
    result.expect("the peer reads");
    promptly("the return", lent).await
}

/// Any size, to a reader that is slow, so that the socket takes a part only.
fn zero_copy_writes_of_any_size_arrive_byte_for_byte(variant: &Variant) {
    let sizes = [0, 1, 4 << 10, 1 << 20, variant.scale(8 << 20).max(1 << 20) as usize + 7];
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, plain) = lopsided();
        let mut checker = pattern.checker();
        let mut rng = variant.rng();
        let (sender, total) = std::sync::mpsc::channel();
        let reader = reading(plain, move |bytes| {
            checker.take(bytes);
            sender.send(checker.offset()).expect("the test waits");
            if rng.u32(0..100) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut sent = 0;
        for size in sizes {
            let bytes = pattern.bytes(sent, size);
            let address = bytes.as_ptr();
            let (bytes, usage) = write_and_return(&ours, bytes).await;
            assert_eq!(bytes.as_ptr(), address, "the same buffer");
            assert!(bytes == pattern.bytes(sent, size), "the buffer comes back as it was");
            let expected = if size == 0 { Usage::Unknown } else { Usage::Copied };
            assert_eq!(usage, expected, "of {size} bytes");
            sent += size as u64;
        }
        drop(ours);
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the bytes that were sent");
        assert_eq!(total.into_iter().last(), Some(sent));
    });
}

/// The next write follows when the socket has accepted the bytes, whatever is still lent: and so the
/// order is that of the calls.
fn zero_copy_writes_keep_their_place_among_others(variant: &Variant) {
    let total = variant.scale(16 << 20).max(2 << 20);
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, plain) = lopsided();
        let mut checker = pattern.checker();
        let reader = reading(plain, move |bytes| checker.take(bytes));
        let mut rng = variant.rng();
        let (mut sent, mut lent) = (0, Vec::new());
        while sent < total {
            let size = rng.usize(1..200_000);
            let bytes = pattern.bytes(sent, size);
            sent += size as u64;
            match rng.u32(0..4) {
                0 => promptly("a write", ours.write_all(bytes)).await.0.expect("it reads"),
                1 => {
                    let tail = bytes[size / 2..].to_vec();
                    let parts = vec![bytes[..size / 2].to_vec(), tail];
                    promptly("a write", ours.write_vectored_all(parts)).await.0.expect("it reads");
                }
                _ => {
                    let write = ours.write_all_zero_copy(bytes);
                    let (result, back) = promptly("a write", write).await;
                    result.expect("it reads");
                    lent.push((sent - size as u64, size, back));
                }
            }
        }
        for (from, size, back) in lent {
            let (bytes, _) = promptly("a return", back).await;
            assert!(bytes == pattern.bytes(from, size), "the buffer comes back as it was");
        }
        drop(ours);
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the bytes in their order");
    });
}

/// Over loopback nothing is gained, and the caller is told so.
fn zero_copy_over_loopback_is_reported_as_copied(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = half();
        let reader = reading(plain, |_| ());
        let rounds = 100;
        for _ in 0..rounds {
            assert_eq!(write_and_return(&ours, vec![7; 20_000]).await.1, Usage::Copied);
        }
        let metrics = ringpark::runtime::metrics();
        let all = rounds * 20_000;
        match lends(variant) {
            false => assert_eq!(metrics.zero_copy_sent, 0),
            true if variant.has_faults() => assert!((1..=all).contains(&metrics.zero_copy_sent)),
            true => assert_eq!(metrics.zero_copy_sent, all),
        }
        assert_eq!(metrics.zero_copy_copied, metrics.zero_copy_sent);
        drop(ours);
        until("all has been read", || reader.is_finished()).await;
    });
}

/// A buffer that is overwritten when it is dropped, and counted: whoever sends from it later is found
/// out.
struct Watched {
    bytes: Vec<u8>,
    alive: Rc<Cell<usize>>,
}

/// What is in a buffer while it is alive, and after.
const ALIVE: u8 = b'a';
const DEAD: u8 = b'd';

impl Watched {
    fn new(size: usize, alive: &Rc<Cell<usize>>) -> Watched {
        alive.set(alive.get() + 1);
        Watched { bytes: vec![ALIVE; size], alive: alive.clone() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bytes.fill(DEAD);
        self.alive.set(self.alive.get() - 1);
        // The allocator may not be quick to give it to somebody else.
        std::hint::black_box(&self.bytes);
    }
}

// SAFETY: the bytes are those of a vector that is only written to when the value is dropped.
unsafe impl IoBuf for Watched {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes.stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes.bytes_init()
    }
}

fn assert_alive(bytes: &[u8]) {
    assert!(bytes.iter().all(|&byte| byte == ALIVE), "a buffer was given back too early");
}

/// While the bytes wait in our socket the kernel has the memory; when the peer has them, it has not.
fn a_buffer_comes_back_when_the_peer_has_the_bytes(variant: &Variant) {
    variant.run(async {
        let alive = Rc::default();
        for _ in 0..variant.scale(20).max(3) {
            let (ours, plain) = lopsided();
            let write = ours.write_all_zero_copy(Watched::new(256 << 10, &alive));
            let (result, lent) = promptly("the write", write).await;
            result.expect("there is room");
            let mut lent = pin!(lent);
            sleep(ms(2)).await;
            // Under faults the last bytes may have gone out by an ordinary send.
            if lends(variant) && !variant.has_faults() {
                assert!(poll_once(lent.as_mut()).await.is_pending(), "the peer has not read");
                assert_eq!(ringpark::runtime::metrics().in_flight, 1);
                let tasks = promptly("the dump", ringpark::runtime::dump()).await;
                let main = tasks.iter().map(ToString::to_string).find(|it| it.contains("send-zc"));
                assert!(main.is_some(), "who waits for a buffer is seen to: {tasks:?}");
            }
            let reader = reading(plain, assert_alive);
            let (buffer, usage) = promptly("the return", lent).await;
            assert_eq!(usage, Usage::Copied);
            assert_alive(&buffer.bytes);
            drop((buffer, ours));
            until("all has been read", || reader.is_finished()).await;
            reader.join().expect("the bytes as they were");
        }
        assert_eq!(alive.get(), 0);
    });
}

/// The same without anybody to give the buffer to: it is freed then.
fn a_buffer_whose_return_nobody_awaits_is_kept_for_the_kernel(variant: &Variant) {
    variant.run(async {
        let alive: Rc<Cell<usize>> = Rc::default();
        let (ours, plain) = lopsided();
        let write = ours.write_all_zero_copy(Watched::new(256 << 10, &alive));
        let (result, lent) = promptly("the write", write).await;
        result.expect("there is room");
        drop(lent);
        sleep(ms(2)).await;
        if lends(variant) && !variant.has_faults() {
            assert_eq!(alive.get(), 1, "the peer has not read");
        }
        let reader = reading(plain, assert_alive);
        until("the buffer is freed", || alive.get() == 0).await;
        drop(ours);
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the bytes as they were");
    });
}

/// Both futures dropped at random points: every buffer is freed, when the kernel is done with it,
/// nothing is left in flight, and the stream goes on.
fn dropped_zero_copy_writes_leave_nothing_behind(variant: &Variant) {
    variant.run(async {
        let alive: Rc<Cell<usize>> = Rc::default();
        let (ours, plain) = lopsided();
        let reader = reading(plain, assert_alive);
        let mut rng = variant.rng();
        let mut kept: Vec<ZeroCopy<Watched>> = Vec::new();
        for _ in 0..variant.scale(4000).max(200) {
            let size = rng.usize(1..rng.clone().usize(2..100_000));
            let mut write = Box::pin(ours.write_all_zero_copy(Watched::new(size, &alive)));
            let mut ended = None;
            for _ in 0..rng.u32(0..4) {
                if let Poll::Ready((result, lent)) = poll_once(write.as_mut()).await {
                    result.expect("the peer reads");
                    ended = Some(lent);
                    break;
                }
                ringpark::yield_now().await;
            }
            let lent = match (ended, rng.u32(0..3)) {
                (Some(lent), _) => lent,
                // Dropped at a point of which it knows nothing.
                (None, 0) => continue,
                (None, 1) => match timeout(Duration::from_micros(rng.u64(0..300)), write).await {
                    Ok((result, lent)) => {
                        result.expect("the peer reads");
                        lent
                    }
                    Err(_) => continue,
                },
                (None, _) => {
                    let (result, lent) = promptly("a write", write).await;
                    result.expect("the peer reads");
                    lent
                }
            };
            match rng.u32(0..4) {
                0 => drop(lent),
                1 => drop(timeout(Duration::from_micros(rng.u64(0..300)), lent).await),
                2 => kept.push(lent),
                _ => drop(promptly("a return", lent).await),
            }
            if kept.len() > 10 {
                drop(kept.swap_remove(rng.usize(0..kept.len())));
            }
        }
        for lent in kept {
            assert_alive(&promptly("a return", lent).await.0.bytes);
        }
        variant::drained().await;
        assert_eq!(alive.get(), 0, "a buffer is left behind");
        let (buffer, _) = write_and_return(&ours, Watched::new(1000, &alive)).await;
        drop((buffer, ours));
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the bytes as they were");
    });
}

/// What is shared, what is static, and what the core has received.
fn zero_copy_writes_take_what_others_own(variant: &Variant) {
    variant.run(async {
        let (one, other) = pair();
        let shared = Bytes::from(vec![b'x'; 10_000]);
        let (back, _) = write_and_return(&one, shared.clone()).await;
        assert_eq!(back.as_ptr(), shared.as_ptr());
        write_and_return(&one, &b"static"[..]).await;
        write_and_return(&one, vec![b'y'; 100].slice(98..)).await;
        let mut sent = vec![b'x'; 10_000];
        sent.extend_from_slice(b"staticyy");
        // Back to where they came from, each in the buffer in which it was received.
        let mut lent = Vec::new();
        let mut count = 0;
        while count < sent.len() {
            let lease =
                promptly("a recv", other.recv()).await.expect("bytes").expect("not the end");
            assert_eq!(&lease[..], &sent[count..][..lease.len()]);
            count += lease.len();
            let (result, back) = other.write_all_zero_copy(lease).await;
            result.expect("it reads");
            lent.push(back);
        }
        assert_eq!(receive(&one, sent.len()).await, sent);
        for back in lent {
            assert!(!promptly("a return", back).await.0.is_empty());
        }
        drop((one, other));
        until("no lease is out", || ringpark::runtime::metrics().leases == 0).await;
    });
}

/// The kernel has no zero-copy sends for these, says so, and is not asked in vain.
fn zero_copy_writes_to_a_unix_socket_are_ordinary_ones(variant: &Variant) {
    variant.run(async {
        let (one, other) = UnixStream::pair().expect("a pair");
        for round in 0..10 {
            let (result, lent) = one.write_all_zero_copy(vec![round; 5000]).await;
            result.expect("there is room");
            let (result, bytes) = other.read_exact(Vec::with_capacity(5000)).await;
            result.expect("the bytes come");
            assert_eq!(bytes, [round; 5000]);
            assert_eq!(promptly("the return", lent).await, (vec![round; 5000], Usage::Copied));
        }
    });
}

/// The same for these: no signal, and the buffer comes back.
fn a_zero_copy_write_to_a_closed_peer_is_a_broken_pipe(variant: &Variant) {
    sys::arm_sigpipe();
    variant.run(async {
        let (ours, plain) = half();
        drop(plain);
        assert!(ours.recv().await.expect("a clean end").is_none());
        let error = loop {
            let (result, lent) = ours.write_all_zero_copy(vec![1; 5000]).await;
            assert_eq!(promptly("the return", lent).await.0, [1; 5000]);
            if let Err(error) = result {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        let (result, lent) = ours.write_all_zero_copy(vec![1; 5000]).await;
        assert_kind(result, ErrorKind::BrokenPipe);
        assert_eq!(promptly("the return", lent).await, (vec![1; 5000], Usage::Unknown));
    });
}

/// A reset of the peer is the end of a write that waits, and of what is lent.
fn a_reset_ends_a_zero_copy_write_and_the_loan(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = lopsided();
        let (result, lent) = ours.write_all_zero_copy(vec![1; 100_000]).await;
        result.expect("there is room");
        let mut write = pin!(ours.write_all_zero_copy(vec![2; 32 << 20]));
        start(write.as_mut()).await;
        sleep(ms(2)).await;
        start(write.as_mut()).await;
        let linger = socket2::SockRef::from(&plain).set_linger(Some(Duration::ZERO));
        linger.expect("the option is known");
        drop(plain);
        let (result, second) = promptly("the write", write).await;
        let error = result.expect_err("the peer is gone");
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert_eq!(promptly("a return", lent).await.0.len(), 100_000);
        assert_eq!(promptly("a return", second).await.0.len(), 32 << 20);
    });
}

/// The write deadline is for the bytes to be accepted; the return takes as long as it takes.
fn a_zero_copy_write_stands_under_its_deadline(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = lopsided();
        ours.set_write_deadline(Some(past()));
        let (result, lent) = ours.write_all_zero_copy(vec![1; 1000]).await;
        assert_eq!(written(result.as_ref().expect_err("a time-out")).unwrap_or(0), 0);
        assert_timed_out(result);
        assert_eq!(promptly("the return", lent).await, (vec![1; 1000], Usage::Unknown));
        // Far more than there is room for.
        let bytes = vec![ALIVE; 8 << 20];
        ours.set_write_deadline(Some(Instant::now() + ms(20)));
        let (result, lent) = promptly("the write", ours.write_all_zero_copy(bytes)).await;
        let count = written(result.as_ref().expect_err("a time-out"));
        assert_timed_out(result);
        ours.set_write_deadline(None);
        let mut arrived = 0;
        let (sender, total) = std::sync::mpsc::channel();
        let reader = reading(plain, move |bytes| {
            assert_alive(bytes);
            arrived += bytes.len();
            sender.send(arrived).expect("the test waits");
        });
        assert_eq!(promptly("the return", lent).await.0.len(), 8 << 20);
        drop(ours);
        until("all has been read", || reader.is_finished()).await;
        reader.join().expect("the bytes as they were");
        assert_eq!(total.into_iter().last(), count, "as many as the error says");
    });
}

/// Who waits is told Closed; and the close does not depend on a peer that does not read.
fn close_wakes_a_zero_copy_write_and_does_not_wait_for_the_peer(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = lopsided();
        let ours = Rc::new(ours);
        let (result, lent) = ours.write_all_zero_copy(vec![1; 100_000]).await;
        result.expect("there is room");
        let writer = ringpark::spawn({
            let ours = ours.clone();
            async move { ours.write_all_zero_copy(vec![2; 32 << 20]).await }
        });
        sleep(ms(2)).await;
        // One whose future is not polled any more, and has the turn or waits for it.
        let mut unpolled = pin!(ours.write_all_zero_copy(vec![3; 32 << 20]));
        start(unpolled.as_mut()).await;
        promptly("the close", ours.close()).await.expect("the first close");
        let (result, second) = promptly("the writer", writer).await.expect("no panic");
        assert_closed(result);
        assert_closed(ours.write_all_zero_copy(vec![4; 10]).await.0);
        assert_closed(promptly("the other", unpolled).await.0);
        drop(plain);
        assert_eq!(promptly("a return", lent).await.0.len(), 100_000);
        assert_eq!(promptly("a return", second).await.0.len(), 32 << 20);
    });
}

/// The runtime ends with such writes in all stages; peers read, or are gone, before it is over.
fn a_runtime_dropped_with_zero_copy_writes_in_flight(variant: &Variant) {
    let alive: Rc<Cell<usize>> = Rc::default();
    let mut readers = Vec::new();
    let started = Instant::now();
    let ended = variant.builder().block_on(async {
        for number in 0..variant.scale(100).max(8) {
            let (ours, plain) = lopsided();
            let buffer = Watched::new(if number % 2 == 0 { 100_000 } else { 4 << 20 }, &alive);
            let task = async move {
                let (result, lent) = ours.write_all_zero_copy(buffer).await;
                if result.is_ok() {
                    drop(lent.await);
                    std::future::pending::<()>().await;
                }
            };
            if number % 3 == 0 {
                let mut task = pin!(task);
                start(task.as_mut()).await;
            } else {
                ringpark::spawn(task);
            }
            ringpark::yield_now().await;
            readers.push(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(number % 20));
                reading(plain, assert_alive).join()
            }));
        }
    });
    ended.expect("the variant starts");
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(10), "the end took {taken:?}");
    for reader in readers {
        reader.join().expect("no panic").expect("the bytes as they were");
    }
    // A machine that is busy with other things may not get round to reading in time. That is told, with
    // the number of the sends whose memory is left alone; nothing else is.
    let left = |line: &String| line.split("left=").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let leaked = log::lines_with("its memory is leaked").iter().filter_map(left).sum::<usize>();
    assert!(alive.get() <= leaked, "{} buffers are not freed, {leaked} told of", alive.get());
}

/// Memory that a peer holds by not reading is given up soon, and never freed.
fn the_end_does_not_wait_for_peers_that_do_not_read(variant: &Variant) {
    let alive: Rc<Cell<usize>> = Rc::default();
    let started = Cell::new(Instant::now());
    let ended = variant.builder().block_on(async {
        let (ours, plain) = lopsided();
        let buffer = Watched::new(256 << 10, &alive);
        let (result, lent) = promptly("the write", ours.write_all_zero_copy(buffer)).await;
        result.expect("there is room");
        drop(lent);
        sleep(ms(2)).await;
        started.set(Instant::now());
        (ours, plain)
    });
    let (ours, plain) = ended.expect("the variant starts");
    let taken = started.get().elapsed();
    assert!(taken < Duration::from_secs(3), "the end took {taken:?}");
    if lends(variant) && !variant.has_faults() {
        assert_eq!(alive.get(), 1, "the kernel still reads it");
        assert!(!log::lines_with("send-zc").is_empty(), "and that is told");
    }
    drop(ours);
    reading(plain, assert_alive).join().expect("the bytes as they were");
}

/// One write and its return, which is as of an ordinary write.
async fn ordinary() {
    let (ours, plain) = half();
    let (buffer, usage) = write_and_return(&ours, vec![b'o'; 50_000]).await;
    assert_eq!((buffer.len(), usage), (50_000, Usage::Copied));
    drop(ours);
    assert_eq!(plain_to_end(plain).await, [b'o'; 50_000]);
    assert_eq!(ringpark::runtime::metrics().zero_copy_sent, 0);
}

/// A policy may forbid them, and any other send as well.
fn zero_copy_writes_are_ordinary_ones_where_they_are_forbidden(variant: &Variant) {
    for forbidden in [&["send-zc"][..], &["send-zc", "send"]] {
        variant.run_on(variant.builder().forbid(forbidden), ordinary());
    }
}

/// Pages that are sent are charged to the user's locked memory.
fn zero_copy_writes_are_ordinary_ones_where_memory_cannot_be_locked(_: &Variant) {
    sys::give_up_privileges();
    let ended = Builder::new().backend(Backend::Uring).block_on(async {
        // Now that there is a ring.
        sys::set_locked_memory_limit(0);
        ordinary().await;
        variant::drained().await;
    });
    ended.expect("there is room for a ring");
}
