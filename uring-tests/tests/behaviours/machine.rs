//! The machine: what it costs, and that it does not sleep when it should not.

use std::cell::Cell;
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "P1" => a_notify_wakes_a_core_that_sleeps_long,
    Every: "P1" => ten_notifies_at_once_cost_one_system_call,
    Every: "P2" => when_io_has_ended_nothing_is_in_flight_and_nobody_waits,
    Every: "P3" => timers_and_io_are_served_while_two_tasks_keep_each_other_runnable,
    Every: "P3" => a_task_that_wakes_itself_keeps_nobody_out,
    Faultless: "P4" => a_steady_loop_of_leases_allocates_nothing,
    Faultless: "P4" => a_steady_loop_of_owned_buffers_allocates_nothing,
    Every: "P5" => a_future_that_nothing_can_wake_is_reported_as_a_deadlock,
    Every: "P5" => a_deadlock_with_tasks_names_them,
    Every: "P5" => waiting_for_a_task_that_nothing_can_wake_is_a_deadlock,
    Every: "P5" => a_wait_for_another_thread_is_no_deadlock,
    Faultless: "P7" => a_core_enters_the_kernel_at_most_once_a_turn,
    Every: "I1" => metrics_count_what_was_done,
];

/// A notify from another thread wakes a core that is parked for 10 s promptly.
fn a_notify_wakes_a_core_that_sleeps_long(variant: &Variant) {
    variant.run(async {
        let before = ringpark::runtime::metrics().turns;
        for _ in 0..variant.scale(50).max(5) {
            let (sender, receiver) = oneshot::channel();
            let thread = std::thread::spawn(move || {
                // Long enough that the core is asleep; nothing depends on it being exact.
                std::thread::sleep(ms(3));
                sender.send(Instant::now()).expect("the task waits");
            });
            let mut long = pin!(sleep(Duration::from_secs(10)));
            start(long.as_mut()).await;
            let sent = receiver.await.expect("it is sent");
            assert!(sent.elapsed() < PROMPT, "it took {:?}", sent.elapsed());
            thread.join().expect("no panic");
        }
        assert!(ringpark::runtime::metrics().turns > before, "it never slept");
    });
}

/// Ten notifies to a core that is busy, and so cannot see them yet, cost at most one call.
fn ten_notifies_at_once_cost_one_system_call(variant: &Variant) {
    variant.run(async {
        for _ in 0..20 {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                (0..10).map(|_| oneshot::channel::<()>()).unzip();
            let tasks: Vec<_> = receivers
                .into_iter()
                .map(|receiver| ringpark::spawn(async move { receiver.await.expect("sent") }))
                .collect();
            ringpark::yield_now().await;
            sleep(ms(1)).await;
            let before = ringpark::runtime::metrics().notifies;
            // This blocks the core on purpose until all ten have been sent.
            std::thread::spawn(move || {
                for sender in senders {
                    sender.send(()).expect("the task waits");
                }
            })
            .join()
            .expect("no panic");
            for task in tasks {
                promptly("a task", task).await.expect("no panic");
            }
            let notifies = ringpark::runtime::metrics().notifies - before;
            assert!(notifies <= 1, "{notifies} system calls for ten wakes at once");
        }
    });
}

/// When all I/O has ended, nothing is in flight and nobody waits.
fn when_io_has_ended_nothing_is_in_flight_and_nobody_waits(variant: &Variant) {
    variant.run(async {
        variant::drained().await;
        let before = ringpark::runtime::metrics();
        assert_eq!((before.in_flight, before.leases), (0, 0), "{before:?}");
        {
            let (listener, address) = listener().await;
            let client = ringpark::spawn(async move {
                let stream = ringpark::net::TcpStream::connect(address).await.expect("it listens");
                stream.set_deadline(Some(Instant::now() + HOUR));
                send(&stream, b"ping").await;
                assert_eq!(receive(&stream, 4).await, b"pong");
                stream.close().await.expect("the first close");
            });
            let (stream, _) = listener.accept().await.expect("one comes");
            stream.set_deadline(Some(Instant::now() + HOUR));
            let mut got = 0;
            while got < 4 {
                got += stream.recv().await.expect("bytes come").expect("not the end").len();
            }
            send(&stream, b"pong").await;
            assert!(stream.recv().await.expect("a clean end").is_none());
            client.await.expect("no panic");
            let mut accept = pin!(listener.accept());
            start(accept.as_mut()).await;
            let waiting = ringpark::runtime::metrics();
            assert!(waiting.in_flight > 0, "{waiting:?}");
        }
        variant::drained().await;
        let after = ringpark::runtime::metrics();
        assert_eq!((after.in_flight, after.leases), (0, 0), "{after:?}");
        assert_eq!((after.tasks, after.timers), (before.tasks, before.timers), "{after:?}");
    });
}

/// A timer fires, and I/O is served, although two tasks keep each other runnable.
fn timers_and_io_are_served_while_two_tasks_keep_each_other_runnable(variant: &Variant) {
    variant.run(async {
        let stop = Rc::new(Cell::new(false));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (sender, receiver) = futures_channel::mpsc::unbounded::<()>();
            one.push(sender);
            other.push(receiver);
        }
        let mut receivers = other.into_iter();
        let players: Vec<_> =
            [(one[1].clone(), receivers.next()), (one[0].clone(), receivers.next())]
                .into_iter()
                .map(|(sender, receiver)| {
                    let stop = stop.clone();
                    ringpark::spawn(async move {
                        let mut receiver = receiver.expect("there are two");
                        while !stop.get() {
                            sender.unbounded_send(()).expect("the other one plays");
                            futures_util::StreamExt::next(&mut receiver).await;
                        }
                        // The other one may be gone already.
                        drop(sender.unbounded_send(()));
                    })
                })
                .collect();
        let (ours, mut plain) = half();
        let started = Instant::now();
        sleep(ms(20)).await;
        assert!(started.elapsed() < PROMPT, "the timer took {:?}", started.elapsed());
        plain.write_all(b"x").expect("there is room");
        let started = Instant::now();
        assert_eq!(receive(&ours, 1).await, b"x");
        assert!(started.elapsed() < PROMPT, "a byte took {:?}", started.elapsed());
        stop.set(true);
        drop(one);
        for player in players {
            promptly("a player", player).await.expect("no panic");
        }
    });
}

/// A task that wakes itself again and again keeps nobody out.
fn a_task_that_wakes_itself_keeps_nobody_out(variant: &Variant) {
    variant.run(async {
        let spinner = ringpark::spawn(async {
            loop {
                ringpark::yield_now().await;
            }
        });
        let (ours, other) = pair();
        for _ in 0..variant.scale(100).max(10) {
            promptly("a write", send(&ours, b"ping")).await;
            assert_eq!(promptly("a read", receive(&other, 4)).await, b"ping");
        }
        sleep(ms(1)).await;
        spinner.abort();
        assert!(promptly("the spinner", spinner).await.expect_err("aborted").is_cancelled());
    });
}

/// Rounds before anything is counted: queues and tables have their size then.
const WARM_UP: u64 = 500;

/// Recv and write_all of the lease: no allocation in a thousand rounds.
fn a_steady_loop_of_leases_allocates_nothing(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let echo = ringpark::spawn(async move {
            while let Some(lease) = other.recv().await.expect("bytes come") {
                other.write_all(lease).await.0.expect("it reads");
            }
        });
        let mut before = 0;
        for round in 0..WARM_UP + variant.scale(2000) {
            if round == WARM_UP {
                before = alloc::allocations();
            }
            ours.write_all(&b"ping"[..]).await.0.expect("it reads");
            let mut got = 0;
            while got < 4 {
                got += ours.recv().await.expect("bytes come").expect("not the end").len();
            }
        }
        let allocations = alloc::allocations() - before;
        assert_eq!(allocations, 0, "{allocations} allocations");
        ours.close().await.expect("the first close");
        echo.await.expect("no panic");
    });
}

/// The same with buffers of our own, deadlines, and a timer.
fn a_steady_loop_of_owned_buffers_allocates_nothing(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let echo = ringpark::spawn(async move {
            let mut buffer = Vec::with_capacity(64);
            loop {
                let (result, bytes) = other.read(buffer).await;
                if result.expect("bytes come") == 0 {
                    return;
                }
                let (result, bytes) = other.write_all(bytes).await;
                result.expect("it reads");
                buffer = bytes;
            }
        });
        let mut buffer = Vec::with_capacity(4);
        let mut before = 0;
        for round in 0..WARM_UP + variant.scale(2000) {
            if round == WARM_UP {
                before = alloc::allocations();
            }
            ours.set_deadline(Some(Instant::now() + HOUR));
            ours.write_all(&b"ping"[..]).await.0.expect("it reads");
            let read = ringpark::time::timeout(HOUR, ours.read_exact(buffer));
            let (result, bytes) = read.await.expect("in time");
            result.expect("bytes come");
            buffer = bytes;
        }
        let allocations = alloc::allocations() - before;
        assert_eq!(allocations, 0, "{allocations} allocations");
        ours.close().await.expect("the first close");
        echo.await.expect("no panic");
    });
}

/// What a panic says.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).expect("panics say something")
}

/// `block_on` of a future that nothing can ever wake is reported as a deadlock.
fn a_future_that_nothing_can_wake_is_reported_as_a_deadlock(variant: &Variant) {
    let panic = std::panic::catch_unwind(|| {
        variant.run(async {
            sleep(ms(5)).await;
            std::future::pending::<()>().await;
        });
    })
    .expect_err("nothing can wake it");
    let said = message(&*panic);
    assert!(said.to_lowercase().contains("deadlock"), "{said}");
    // The thread is as good as before.
    assert_eq!(variant.run(async { 7 }), 7);
}

/// The same when tasks are left that nothing can wake either; they are named.
fn a_deadlock_with_tasks_names_them(variant: &Variant) {
    let panic = std::panic::catch_unwind(|| {
        variant.run(async {
            for _ in 0..2 {
                ringpark::spawn(std::future::pending::<()>());
            }
            sleep(ms(1)).await;
            std::future::pending::<()>().await;
        });
    })
    .expect_err("nothing can wake them");
    let said = message(&*panic);
    assert!(said.to_lowercase().contains("deadlock"), "{said}");
    assert!(said.contains("machine.rs"), "it says where the tasks come from: {said}");
}

/// The same when the main future waits for such a task.
fn waiting_for_a_task_that_nothing_can_wake_is_a_deadlock(variant: &Variant) {
    let panic = std::panic::catch_unwind(|| {
        variant.run(async {
            drop(ringpark::spawn(std::future::pending::<()>()).await);
        });
    })
    .expect_err("nothing can wake them");
    assert!(message(&*panic).to_lowercase().contains("deadlock"), "{}", message(&*panic));
}

/// A future that another thread will wake is no deadlock, though the core has nothing to do.
fn a_wait_for_another_thread_is_no_deadlock(variant: &Variant) {
    for _ in 0..5 {
        variant.run(async {
            let (sender, receiver) = oneshot::channel();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(ms(10));
                sender.send(7).expect("the task waits");
            });
            assert_eq!(receiver.await, Ok(7));
            thread.join().expect("no panic");
        });
    }
}

/// One kernel entry a turn submits, waits and collects.
fn a_core_enters_the_kernel_at_most_once_a_turn(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let echo = ringpark::spawn(async move {
            while let Some(lease) = other.recv().await.expect("bytes come") {
                other.write_all(lease).await.0.expect("it reads");
            }
        });
        let before = ringpark::runtime::metrics();
        for _ in 0..variant.scale(1000) {
            send(&ours, b"ping").await;
            receive(&ours, 4).await;
        }
        let after = ringpark::runtime::metrics();
        let (turns, entries) = (after.turns - before.turns, after.entries - before.entries);
        assert!(entries <= turns, "{entries} kernel entries in {turns} turns");
        ours.close().await.expect("the first close");
        echo.await.expect("no panic");
    });
}

/// The metrics tell what happened.
fn metrics_count_what_was_done(variant: &Variant) {
    variant.run(async {
        let before = ringpark::runtime::metrics();
        assert_eq!(before.backend, variant.backend());
        let (ours, mut plain) = half();
        let timers = before.timers;
        let mut long = Box::pin(sleep(HOUR));
        start(long.as_mut()).await;
        assert_eq!(ringpark::runtime::metrics().timers, timers + 1);
        drop(long);
        assert_eq!(ringpark::runtime::metrics().timers, timers);
        let task = ringpark::spawn(std::future::pending::<()>());
        assert_eq!(ringpark::runtime::metrics().tasks, before.tasks + 1);
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert_eq!(ringpark::runtime::metrics().tasks, before.tasks);
        let cancels = ringpark::runtime::metrics().cancels;
        {
            let mut read = pin!(ours.read(vec![0; 8]));
            start(read.as_mut()).await;
            ringpark::yield_now().await;
            sleep(ms(1)).await;
            // A fault may have ended it for the moment.
            let in_flight = ringpark::runtime::metrics().in_flight;
            assert!(in_flight > 0 || variant.has_faults(), "{:?}", ringpark::runtime::metrics());
        }
        variant::drained().await;
        // Elsewhere nothing is in the kernel's hands, so that there is nothing to cancel.
        let cancels = ringpark::runtime::metrics().cancels - cancels;
        let certain = variant.needs_uring() && !variant.has_faults();
        assert!(cancels == 1 || !certain, "{:?}", ringpark::runtime::metrics());
        plain.write_all(b"x").expect("there is room");
        assert_eq!(receive(&ours, 1).await, b"x");
        let after = ringpark::runtime::metrics();
        assert!(after.turns > before.turns && after.polls > before.polls, "{after:?}");
    });
}
