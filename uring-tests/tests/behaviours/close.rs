//! Close: it wakes whoever waits, waits until the descriptor is really gone, and harms nobody else.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;

use ringpark::io::Descriptor;
use ringpark::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "C1" => close_wakes_a_parked_read,
    Every: "C1" => close_wakes_a_parked_recv,
    Every: "C1" => close_wakes_a_parked_peek,
    Every: "C1" => close_wakes_a_parked_write,
    Every: "C1" => close_wakes_a_parked_accept,
    Every: "C1" => close_wakes_a_parked_connect,
    Every: "C1" => close_wakes_a_wait_for_readiness,
    Every: "C1" => close_wakes_a_parked_pipe_reader,
    Every: "C1" => close_wakes_everybody_who_waits_at_once,
    Every: "C2" => close_returns_once_the_descriptor_is_closed,
    Every: "C2" => listen_close_listen_on_the_same_address,
    Every: "C3" => any_call_on_a_closed_stream_is_closed,
    Every: "C3" => any_call_on_a_closed_listener_is_closed,
    Every: "C4" => close_never_touches_a_descriptor_opened_since,
    Every: "C4" => a_dropped_handle_never_touches_a_descriptor_opened_since,
    Every: "C5" => shutdown_of_writing_leaves_reading_alone,
    Every: "C5" => shutdown_of_reading_leaves_writing_alone,
    Every: "C5" => shutdown_wakes_a_parked_read_with_the_end,
    Every: "C6" => a_pipe_reader_sees_the_end_when_the_last_writer_closes,
    Every: "C7" => a_dropped_handle_with_operations_in_flight_frees_its_descriptor,
    Every: "C7" => a_dropped_listener_with_an_accept_in_flight_frees_its_address,
    Every: "C1" => close_does_not_wait_for_a_future_that_is_not_polled,
    Every: "C8" => a_dropped_close_still_closes,
    Every: "C9" => bytes_written_before_close_arrive,
];

/// More than the buffers of a connection hold.
const MORE_THAN_FITS: usize = 32 << 20;

fn closer(stream: &Rc<TcpStream>) -> ringpark::JoinHandle<std::io::Result<()>> {
    let stream = stream.clone();
    ringpark::spawn(async move { stream.close().await })
}

/// Polls a future until it waits, closes the stream from another task, and hands out what it says.
async fn close_during<F: std::future::Future>(
    stream: &Rc<TcpStream>,
    future: std::pin::Pin<&mut F>,
) -> F::Output
where
    F::Output: std::fmt::Debug,
{
    let mut future = future;
    start(future.as_mut()).await;
    // A turn for the kernel to see it, so that close really meets a parked operation.
    ringpark::time::sleep(ms(2)).await;
    start(future.as_mut()).await;
    let closing = closer(stream);
    let output = promptly("the operation under close", future).await;
    promptly("close", closing).await.expect("no panic").expect("the first close");
    output
}

/// Close wakes a parked read with Closed.
fn close_wakes_a_parked_read(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let ours = Rc::new(ours);
        let (result, bytes) = close_during(&ours, pin!(ours.read(Vec::with_capacity(64)))).await;
        assert_closed(result);
        assert!(bytes.is_empty() && bytes.capacity() >= 64, "the buffer comes back");
        assert_eq!(plain.read(&mut [0; 8]).expect("a clean end"), 0);
    });
}

/// The same for recv.
fn close_wakes_a_parked_recv(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let ours = Rc::new(ours);
        assert_closed(close_during(&ours, pin!(ours.recv())).await);
        assert_eq!(plain.read(&mut [0; 8]).expect("a clean end"), 0);
    });
}

/// The same for peek.
fn close_wakes_a_parked_peek(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        assert_closed(close_during(&ours, pin!(ours.peek(vec![0; 8]))).await.0);
    });
}

/// The same for a write that has no room.
fn close_wakes_a_parked_write(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let (result, bytes) =
            close_during(&ours, pin!(ours.write_all(vec![7; MORE_THAN_FITS]))).await;
        assert_eq!(bytes.len(), MORE_THAN_FITS, "the buffer comes back");
        assert_closed(result);
    });
}

/// The same for an accept.
fn close_wakes_a_parked_accept(variant: &Variant) {
    variant.run(async {
        let (listener, _) = listener().await;
        let listener = Rc::new(listener);
        let mut accept = pin!(listener.accept());
        start(accept.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        start(accept.as_mut()).await;
        let closing = ringpark::spawn({
            let listener = listener.clone();
            async move { listener.close().await }
        });
        assert_closed(promptly("the accept", accept).await);
        closing.await.expect("no panic").expect("the first close");
    });
}

/// The same for a connect that nobody answers.
fn close_wakes_a_parked_connect(variant: &Variant) {
    let stuck = StuckListener::new();
    variant.run(async {
        let socket = Rc::new(TcpSocket::new_v4().await.expect("a socket"));
        let mut connect = pin!(socket.connect(stuck.address));
        start(connect.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        start(connect.as_mut()).await;
        let closing = ringpark::spawn({
            let socket = socket.clone();
            async move { socket.close().await }
        });
        assert_closed(promptly("the connect", connect).await);
        closing.await.expect("no panic").expect("the first close");
    });
}

/// The same for waits for readiness and for closures that wait.
fn close_wakes_a_wait_for_readiness(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        assert_closed(close_during(&ours, pin!(ours.readable())).await);

        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let wait = ours.read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into()));
        assert_closed(close_during(&ours, pin!(wait)).await);
    });
}

/// The same for a pipe.
fn close_wakes_a_parked_pipe_reader(variant: &Variant) {
    variant.run(async {
        let (reader, _writer) = pipe();
        let reader = Rc::new(Descriptor::new(reader).expect("a pipe can join"));
        let mut read = pin!(reader.read(vec![0; 8]));
        start(read.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        start(read.as_mut()).await;
        let closing = ringpark::spawn({
            let reader = reader.clone();
            async move { reader.close().await }
        });
        assert_closed(promptly("the read", read).await.0);
        closing.await.expect("no panic").expect("the first close");
    });
}

/// Readers in a queue, a writer, and one who waits for readiness: all of them.
fn close_wakes_everybody_who_waits_at_once(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let ours = Rc::new(ours);
        let mut tasks = Vec::new();
        for _ in 0..5 {
            let stream = ours.clone();
            tasks.push(ringpark::spawn(async move { assert_closed(stream.recv().await) }));
            let stream = ours.clone();
            tasks.push(ringpark::spawn(async move {
                assert_closed(stream.read(vec![0; 8]).await.0);
            }));
            let stream = ours.clone();
            tasks.push(ringpark::spawn(async move {
                assert_closed(stream.write_all(vec![7; MORE_THAN_FITS]).await.0);
            }));
        }
        ringpark::time::sleep(ms(5)).await;
        promptly("close", ours.close()).await.expect("the first close");
        for task in tasks {
            promptly("a task", task).await.expect("every one of them is told");
        }
    });
}

/// Close returns once the descriptor is really closed.
fn close_returns_once_the_descriptor_is_closed(variant: &Variant) {
    variant.run(async {
        for _ in 0..10 {
            let (ours, _plain) = half();
            let number = ours.as_raw_fd();
            {
                let mut recv = pin!(ours.recv());
                start(recv.as_mut()).await;
                ringpark::time::sleep(ms(1)).await;
            }
            assert!(sys::is_open(number));
            ours.close().await.expect("the first close");
            assert!(!sys::is_open(number));
        }
    });
}

/// Listen, close, listen on the same address works at once, ten times.
fn listen_close_listen_on_the_same_address(variant: &Variant) {
    variant.run(async {
        let (mut last, address) = listener().await;
        for round in 0..10 {
            if round % 2 == 0 {
                let mut accept = pin!(last.accept());
                start(accept.as_mut()).await;
                ringpark::time::sleep(ms(1)).await;
            }
            last.close().await.expect("the first close");
            last = TcpListener::bind(address).await.unwrap_or_else(|error| {
                panic!("round {round}: cannot listen again: {error}");
            });
        }
    });
}

/// Any call after close: Closed; a second close: Closed.
fn any_call_on_a_closed_stream_is_closed(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        ours.close().await.expect("the first close");
        assert_closed(ours.close().await);
        assert_closed(ours.recv().await);
        assert_closed(ours.read(vec![0; 8]).await.0);
        assert_closed(ours.read_exact(vec![0; 8]).await.0);
        assert_closed(ours.peek(vec![0; 8]).await.0);
        assert_closed(ours.write(vec![0; 8]).await.0);
        assert_closed(ours.write_all(vec![0; 8]).await.0);
        assert_closed(ours.write_vectored(vec![vec![0; 8]]).await.0);
        assert_closed(ours.write_vectored_all(vec![vec![0; 8]]).await.0);
        assert_closed(ours.shutdown(Shutdown::Write).await);
        assert_closed(ours.readable().await);
        assert_closed(ours.writable().await);
        assert_closed(ours.read_with(|_| Ok(())).await);
        assert_closed(ours.write_with(|_| Ok(())).await);
        assert_closed(ours.peer_addr());
        assert_closed(ours.local_addr());
        assert_closed(ours.set_nodelay(true));
        assert_closed(ours.nodelay());
        ours.set_deadline(Some(past()));
        assert_closed(ours.recv().await);
    });
}

/// The same for a listener, and for a descriptor.
fn any_call_on_a_closed_listener_is_closed(variant: &Variant) {
    variant.run(async {
        let (listener, _) = listener().await;
        listener.close().await.expect("the first close");
        assert_closed(listener.close().await);
        assert_closed(listener.accept().await);
        assert_closed(listener.local_addr());

        let (reader, _writer) = pipe();
        let reader = Descriptor::new(reader).expect("a pipe can join");
        reader.close().await.expect("the first close");
        assert_closed(reader.close().await);
        assert_closed(reader.read(vec![0; 8]).await.0);
        assert_closed(reader.readable().await);
    });
}

/// Close racing with other users of the handle never touches a descriptor opened since. The
/// numbers of descriptors are reused at once, so a late operation would meet the new one.
fn close_never_touches_a_descriptor_opened_since(variant: &Variant) {
    variant.run(async {
        let mut reused = 0;
        for round in 0..variant.scale(200).max(20) {
            let (ours, plain) = half();
            let ours = Rc::new(ours);
            let number = ours.as_raw_fd();
            let users: Vec<_> = (0..3)
                .map(|kind| {
                    let stream = ours.clone();
                    ringpark::spawn(async move {
                        loop {
                            let ended = match kind {
                                0 => stream.read(vec![0; 64]).await.0.is_err(),
                                1 => stream.recv().await.is_err(),
                                _ => stream.write(vec![0xee; 64]).await.0.is_err(),
                            };
                            if ended {
                                return;
                            }
                            ringpark::yield_now().await;
                        }
                    })
                })
                .collect();
            for _ in 0..round % 5 {
                ringpark::yield_now().await;
            }
            let closing = closer(&ours);
            for _ in 0..3 {
                let (one, mut other) = std_pair();
                reused += u64::from(one.as_raw_fd() == number || other.as_raw_fd() == number);
                other.write_all(b"mine").expect("there is room");
                ringpark::yield_now().await;
                let mut bytes = [0; 4];
                (&one).read_exact(&mut bytes).expect("nobody else takes the bytes");
                assert_eq!(&bytes, b"mine");
                one.set_nonblocking(true).expect("the option is known");
                other.set_nonblocking(true).expect("the option is known");
                assert_kind((&one).read(&mut bytes), ErrorKind::WouldBlock);
                assert_kind((&other).read(&mut bytes), ErrorKind::WouldBlock);
            }
            promptly("close", closing).await.expect("no panic").expect("the first close");
            for user in users {
                promptly("a user", user).await.expect("no panic");
            }
            drop(plain);
        }
        assert!(reused > 0, "no number was reused, so nothing was tried");
    });
}

/// The same when the handle is dropped with operations that have not yet reached the kernel.
fn a_dropped_handle_never_touches_a_descriptor_opened_since(variant: &Variant) {
    variant.run(async {
        let mut reused = 0;
        for _ in 0..variant.scale(200) {
            let (ours, plain) = half();
            let number = ours.as_raw_fd();
            {
                let mut read = pin!(ours.read(vec![0; 64]));
                start(read.as_mut()).await;
                let mut recv = pin!(ours.recv());
                start(recv.as_mut()).await;
            }
            drop(ours);
            let (one, mut other) = std_pair();
            reused += u64::from(one.as_raw_fd() == number || other.as_raw_fd() == number);
            other.write_all(b"mine").expect("there is room");
            ringpark::time::sleep(ms(1)).await;
            let mut bytes = [0; 4];
            one.set_nonblocking(true).expect("the option is known");
            wait_buffered(&one, 4);
            (&one).read_exact(&mut bytes).expect("nobody else takes the bytes");
            assert_eq!(&bytes, b"mine");
            drop(plain);
        }
        println!("{reused} numbers were reused");
    });
}

/// After shutdown of writing the peer sees the end, and reading goes on.
fn shutdown_of_writing_leaves_reading_alone(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        send(&ours, b"request").await;
        ours.shutdown(Shutdown::Write).await.expect("it is connected");
        let mut request = Vec::new();
        plain.read_to_end(&mut request).expect("a clean end");
        assert_eq!(request, b"request");
        plain.write_all(b"answer").expect("there is room");
        assert_eq!(receive(&ours, 6).await, b"answer");
        assert_kind(ours.write_all(b"late".to_vec()).await.0, ErrorKind::BrokenPipe);
        drop(plain);
        assert!(ours.recv().await.expect("a clean end").is_none());
    });
}

/// After shutdown of reading reads end, and writing goes on.
fn shutdown_of_reading_leaves_writing_alone(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        ours.shutdown(Shutdown::Read).await.expect("it is connected");
        assert!(promptly("the recv", ours.recv()).await.expect("the end").is_none());
        assert_eq!(promptly("the read", ours.read(vec![0; 8])).await.0.expect("the end"), 0);
        send(&ours, b"still here").await;
        let mut bytes = [0; 10];
        plain.read_exact(&mut bytes).expect("the bytes come");
        assert_eq!(&bytes, b"still here");
    });
}

/// Shutdown of reading is the end for a read that waits.
fn shutdown_wakes_a_parked_read_with_the_end(variant: &Variant) {
    variant.run(async {
        for with_lease in [false, true] {
            let (ours, _plain) = half();
            let mut read = pin!(async {
                if with_lease {
                    ours.recv().await.map(|lease| lease.map_or(0, |bytes| bytes.len()))
                } else {
                    ours.read(vec![0; 8]).await.0
                }
            });
            start(read.as_mut()).await;
            ringpark::time::sleep(ms(2)).await;
            start(read.as_mut()).await;
            ours.shutdown(Shutdown::Read).await.expect("it is connected");
            assert_eq!(promptly("the read", read).await.expect("the end"), 0);
        }
    });
}

/// A pipe's reader sees the end when the last writer closes.
fn a_pipe_reader_sees_the_end_when_the_last_writer_closes(variant: &Variant) {
    variant.run(async {
        let (reader, writer) = pipe();
        let second = writer.try_clone().expect("a descriptor is free");
        let reader = Descriptor::new(reader).expect("a pipe can join");
        let writer = Descriptor::new(writer).expect("a pipe can join");
        let mut read = pin!(reader.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        writer.write_all(b"a".to_vec()).await.0.expect("there is room");
        assert_eq!(promptly("the read", read).await.1, b"a");
        let mut read = pin!(reader.read(Vec::with_capacity(8)));
        start(read.as_mut()).await;
        writer.close().await.expect("the first close");
        ringpark::time::sleep(ms(2)).await;
        start(read.as_mut()).await;
        drop(second);
        assert_eq!(promptly("the read", read).await.0.expect("a clean end"), 0);
        assert_eq!(reader.read(vec![0; 8]).await.0.expect("it stays the end"), 0);
    });
}

/// Dropping a handle with operations in flight frees the descriptor; the peer sees FIN.
fn a_dropped_handle_with_operations_in_flight_frees_its_descriptor(variant: &Variant) {
    variant.run(async {
        for kind in 0..4 {
            let (ours, mut plain) = half();
            let number = ours.as_raw_fd();
            {
                let mut read = pin!(async {
                    match kind {
                        0 => drop(ours.recv().await),
                        1 => drop(ours.read(vec![0; 64]).await),
                        2 => drop(ours.readable().await),
                        _ => drop(ours.write_all(vec![7; MORE_THAN_FITS]).await),
                    }
                });
                start(read.as_mut()).await;
                ringpark::time::sleep(ms(2)).await;
            }
            drop(ours);
            until("the descriptor is free", || !sys::is_open(number)).await;
            let reader = std::thread::spawn(move || {
                let mut sink = vec![0; 1 << 20];
                while plain.read(&mut sink).expect("a clean end") > 0 {}
            });
            until("the peer sees the end", || reader.is_finished()).await;
            reader.join().expect("a clean end");
        }
    });
}

/// The same for a listener.
fn a_dropped_listener_with_an_accept_in_flight_frees_its_address(variant: &Variant) {
    variant.run(async {
        let (first, address) = listener().await;
        {
            let mut accept = pin!(first.accept());
            start(accept.as_mut()).await;
            ringpark::time::sleep(ms(2)).await;
        }
        let number = first.as_raw_fd();
        drop(first);
        until("the descriptor is free", || !sys::is_open(number)).await;
        until("the address is free", || std::net::TcpListener::bind(address).is_ok()).await;
    });
}

/// A future that waits, is kept, and is never polled again (as after a `select!` that another
/// branch has won) does not hold up the close, and is told when it is polled at last.
fn close_does_not_wait_for_a_future_that_is_not_polled(variant: &Variant) {
    variant.run(async {
        for kind in 0..5 {
            let (ours, plain) = half();
            let mut kept = pin!(async {
                match kind {
                    0 => ours.recv().await.map(drop),
                    1 => ours.read(vec![0; 64]).await.0.map(drop),
                    2 => ours.readable().await,
                    3 => ours.read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into())).await,
                    _ => ours.write_all(vec![7; MORE_THAN_FITS]).await.0,
                }
            });
            start(kept.as_mut()).await;
            ringpark::time::sleep(ms(2)).await;
            promptly("close", ours.close()).await.expect("the first close");
            assert_closed(promptly("the kept future", kept).await);
            drop(plain);
        }
    });
}

/// A close that is dropped half-way goes on by itself.
fn a_dropped_close_still_closes(variant: &Variant) {
    variant.run(async {
        let (ours, plain) = half();
        let number = ours.as_raw_fd();
        let mut recv = Box::pin(ours.recv());
        start(recv.as_mut()).await;
        ringpark::time::sleep(ms(2)).await;
        {
            let mut close = pin!(ours.close());
            drop(poll_once(close.as_mut()).await);
        }
        assert_closed(promptly("the recv", recv).await);
        until("the descriptor is free", || !sys::is_open(number)).await;
        assert!(plain_to_end(plain).await.is_empty());
        assert_closed(ours.recv().await);
    });
}

/// What was written before close arrives.
fn bytes_written_before_close_arrive(variant: &Variant) {
    variant.run(async {
        let pattern = Pattern::new(variant.seed());
        let (ours, plain) = half();
        let count = 1 << 20;
        let reader = std::thread::spawn({
            let mut checker = pattern.checker();
            move || {
                let mut plain = plain;
                let mut all = Vec::new();
                plain.read_to_end(&mut all).expect("a clean end");
                checker.take(&all);
                checker.offset()
            }
        });
        ours.write_all(pattern.bytes(0, count)).await.0.expect("the peer reads");
        ours.close().await.expect("the first close");
        assert_eq!(reader.join().expect("the right bytes"), count as u64);
    });
}
