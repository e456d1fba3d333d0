//! The end of a runtime, with whatever is still going on in it.

use std::cell::Cell;
use std::future::Future;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringpark::io::Descriptor;
use ringpark::net::TcpStream;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "X5" => a_runtime_dropped_with_a_thousand_operations_in_flight,
    Every: "X5" => a_runtime_dropped_with_writes_in_flight,
    Every: "X5" => a_runtime_dropped_with_accepts_and_connects_in_flight,
    Every: "T7" => tasks_left_over_are_dropped_with_the_runtime,
    Every: "T8" => a_join_handle_outlives_its_runtime,
    Every: "T8" => a_waker_outlives_its_runtime,
    Every: "T8" => a_stream_that_outlives_its_runtime_is_closed_by_drop,
    Every: "T7" => a_task_dropped_at_the_end_may_spawn_and_use_streams,
    Every: "T9" => runtimes_follow_each_other_on_one_thread,
    Every: "T9" => runtimes_live_side_by_side_on_many_threads,
    Every: "T9" => a_panic_in_the_main_future_leaves_the_thread_usable,
];

/// Runs without waiting for the operations that are left, and checks that the end does not hang.
fn run_and_leave<T>(variant: &Variant, main: impl Future<Output = T>) -> T {
    let ended = Rc::new(Cell::new(Instant::now()));
    let output = variant.builder().block_on(async {
        let output = main.await;
        ended.set(Instant::now());
        output
    });
    let taken = ended.get().elapsed();
    assert!(taken < Duration::from_secs(10), "the end took {taken:?}");
    output.expect("the variant starts")
}

/// The runtime ends with 1000 operations in flight on sockets and pipes: a bounded wait, no
/// descriptor is left, and under the address sanitizer no memory is freed under the kernel.
fn a_runtime_dropped_with_a_thousand_operations_in_flight(variant: &Variant) {
    let count = affordable(variant.scale(1000).max(100), 2);
    let mut peers = Vec::new();
    let mut pipes = Vec::new();
    run_and_leave(variant, async {
        for number in 0..count / 4 {
            let (ours, plain) = half();
            peers.push(plain);
            let ours = Rc::new(ours);
            for direction in 0..2 {
                let ours = ours.clone();
                ringpark::spawn(async move {
                    match (direction, number % 3) {
                        (0, 0) => drop(ours.recv().await),
                        (0, 1) => drop(ours.read(vec![0; 1000]).await),
                        (0, _) => drop(ours.readable().await),
                        _ => drop(ours.write_all(vec![0; 8 << 20]).await),
                    }
                    panic!("none of them can end");
                });
            }
            let (reader, writer) = pipe();
            pipes.push(writer);
            ringpark::spawn(async move {
                let reader = Descriptor::new(reader).expect("a pipe can join");
                drop(reader.read(vec![0; 1000]).await);
                panic!("it cannot end");
            });
            // One whose future is gone already, so that the slot owns the memory.
            let (ours, plain) = half();
            peers.push(plain);
            {
                let mut read = pin!(ours.read(vec![0; 1000]));
                start(read.as_mut()).await;
            }
            if number == count / 8 {
                sleep(ms(2)).await;
            }
        }
        ringpark::yield_now().await;
        sleep(ms(2)).await;
    });
    drop((peers, pipes));
}

/// The same with writes that have no room, in the main future itself.
fn a_runtime_dropped_with_writes_in_flight(variant: &Variant) {
    let plain = run_and_leave(variant, async {
        let (ours, plain) = half();
        let mut write = pin!(ours.write_all(vec![1; 32 << 20]));
        start(write.as_mut()).await;
        sleep(ms(2)).await;
        let (ours, other_plain) = half();
        let mut write = pin!(ours.write_vectored_all(vec![vec![1; 1 << 20]; 32]));
        start(write.as_mut()).await;
        (plain, other_plain)
    });
    drop(plain);
}

/// Accepts and connects that nobody will answer end with the runtime, and leave no descriptor.
fn a_runtime_dropped_with_accepts_and_connects_in_flight(variant: &Variant) {
    let stuck = StuckListener::new();
    let client = run_and_leave(variant, async {
        let (listener, address) = listener().await;
        let listener = Rc::new(listener);
        for _ in 0..5 {
            let listener = listener.clone();
            ringpark::spawn(async move { drop(listener.accept().await) });
            let address = stuck.address;
            ringpark::spawn(async move { drop(TcpStream::connect(address).await) });
        }
        sleep(ms(2)).await;
        // A connection that completes an accept of which nobody will hear any more.
        std::net::TcpStream::connect(address).expect("the listener listens")
    });
    drop(client);
}

/// What tasks own is dropped when the runtime ends, on its thread.
fn tasks_left_over_are_dropped_with_the_runtime(variant: &Variant) {
    struct Counted(Rc<Cell<u32>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let count = Rc::new(Cell::new(0));
    variant.run(async {
        for number in 0..10 {
            let counted = Counted(count.clone());
            ringpark::spawn(async move {
                if number % 2 == 0 {
                    sleep(HOUR).await;
                }
                std::future::pending::<()>().await;
                drop(counted);
            });
        }
        sleep(ms(1)).await;
        // Spawned and never polled.
        let counted = Counted(count.clone());
        ringpark::spawn(async move { drop(counted) });
        assert_eq!(count.get(), 0);
    });
    assert_eq!(count.get(), 11);
}

/// A handle may be kept: the task it stands for was cancelled.
fn a_join_handle_outlives_its_runtime(variant: &Variant) {
    let (pending, done, panicked) = variant.run(async {
        let pending = ringpark::spawn(std::future::pending::<()>());
        let done = ringpark::spawn(async { String::from("result") });
        let panicked = ringpark::spawn(async { panic!("on purpose") });
        until("two have ended", || done.is_finished() && panicked.is_finished()).await;
        (pending, done, panicked)
    });
    let mut context = Context::from_waker(Waker::noop());
    match pin!(pending).poll(&mut context) {
        Poll::Ready(Err(error)) => assert!(error.is_cancelled(), "{error}"),
        other => panic!("not cancelled but {other:?}"),
    }
    match pin!(done).poll(&mut context) {
        Poll::Ready(result) => assert_eq!(result.expect("it had ended"), "result"),
        Poll::Pending => panic!("it had ended"),
    }
    drop(panicked);
}

/// A waker may be kept, cloned, used and dropped anywhere, long after.
fn a_waker_outlives_its_runtime(variant: &Variant) {
    let waker = variant.run(async {
        let task =
            ringpark::spawn(std::future::poll_fn(|context| Poll::Ready(context.waker().clone())));
        let of_a_task = task.await.expect("no panic");
        let of_main = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let (sender, receiver) = oneshot::channel::<Waker>();
        ringpark::spawn(async move {
            let mut sender = Some(sender);
            std::future::poll_fn(|context| {
                if let Some(sender) = sender.take() {
                    sender.send(context.waker().clone()).expect("main waits");
                }
                Poll::<()>::Pending
            })
            .await;
        });
        [of_a_task, of_main, receiver.await.expect("it is sent")]
    });
    for waker in &waker {
        waker.wake_by_ref();
    }
    let copies = waker.clone();
    std::thread::spawn(move || copies.into_iter().for_each(Waker::wake)).join().expect("no panic");
    // On a thread with another runtime: the wakes are not for its tasks.
    variant.run(async {
        let task = ringpark::spawn(std::future::pending::<()>());
        waker.into_iter().for_each(Waker::wake);
        sleep(ms(1)).await;
        assert!(!task.is_finished());
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
    });
}

/// A stream may be dropped when its runtime is gone; its descriptor is closed.
fn a_stream_that_outlives_its_runtime_is_closed_by_drop(variant: &Variant) {
    let (ours, mut plain) = run_and_leave(variant, async {
        let (ours, plain) = half();
        {
            let mut recv = pin!(ours.recv());
            start(recv.as_mut()).await;
            sleep(ms(1)).await;
        }
        (ours, plain)
    });
    drop(ours);
    assert_eq!(std::io::Read::read(&mut plain, &mut [0; 8]).expect("a clean end"), 0);
}

/// A task that is dropped at the end may run code that uses the runtime, which must not break.
fn a_task_dropped_at_the_end_may_spawn_and_use_streams(variant: &Variant) {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let ran = Rc::new(Cell::new(0));
    variant.run(async {
        let (ours, plain) = half();
        let ran = ran.clone();
        ringpark::spawn(async move {
            let _plain = plain;
            let _on_drop = OnDrop(move || {
                ran.set(ran.get() + 1);
                // It may be refused by a panic that says so, but nothing worse.
                let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    drop(ringpark::spawn(async {}));
                }));
                drop(spawned);
                let mut recv = pin!(ours.recv());
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    drop(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())));
                }));
                drop(polled);
            });
            std::future::pending::<()>().await;
        });
        sleep(ms(1)).await;
    });
    assert_eq!(ran.get(), 1);
}

/// One runtime after the other.
fn runtimes_follow_each_other_on_one_thread(variant: &Variant) {
    for round in 0..variant.scale(100) {
        let got = variant.run(async {
            let (ours, other) = pair();
            send(&ours, &round.to_ne_bytes()).await;
            receive(&other, 8).await
        });
        assert_eq!(got, round.to_ne_bytes());
    }
}

/// One runtime on each of many threads.
fn runtimes_live_side_by_side_on_many_threads(variant: &Variant) {
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            scope.spawn(move || {
                variant.run(async {
                    let (ours, other) = pair();
                    for _ in 0..50 {
                        send(&ours, &[number; 8]).await;
                        assert_eq!(receive(&other, 8).await, [number; 8]);
                    }
                });
            });
        }
    });
}

/// A panic of the main future comes out of `block_on`; operations in flight end, and the thread can
/// run another runtime.
fn a_panic_in_the_main_future_leaves_the_thread_usable(variant: &Variant) {
    struct CountWakes(AtomicU32);
    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let panic = std::panic::catch_unwind(|| {
        variant.run(async {
            let (ours, _plain) = half();
            let wakes = Arc::new(CountWakes(AtomicU32::new(0)));
            let waker = Waker::from(wakes.clone());
            let mut recv: Pin<Box<dyn Future<Output = _>>> = Box::pin(ours.recv());
            let polled = recv.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            ringpark::spawn(async { sleep(HOUR).await });
            panic!("on purpose");
        })
    });
    let panic = panic.expect_err("it panics");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(variant.run(async { 7 }), 7);
}
