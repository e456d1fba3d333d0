//! Tasks: their handles, their ends, and what becomes of the others.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use futures_channel::oneshot;
use ringpark::time::{sleep, timeout};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z4" => a_panicking_task_is_its_join_error_and_the_others_go_on,
    Every: "T1" => a_task_gives_its_result_to_its_handle,
    Every: "T1" => dropping_a_handle_detaches_the_task,
    Every: "T2" => abort_ends_a_task_and_drops_what_it_owns,
    Every: "T2" => abort_of_a_task_that_has_ended_does_nothing,
    Every: "T2" => a_task_may_abort_itself,
    Every: "T2" => a_task_can_be_aborted_before_it_runs,
    Every: "T2" => abort_during_io_lets_go_of_the_stream,
    Every: "T1" => a_handle_may_wait_in_another_task,
    Every: "Z4" => a_result_that_panics_when_dropped_harms_nobody,
    Every: "T3" => tasks_run_in_the_order_in_which_they_were_spawned,
    Every: "T3" => a_task_spawned_from_a_drop_runs,
    Every: "T4" => many_tasks_come_and_go,
    Every: "T4" => futures_need_not_be_send,
    Every: "T3" => waking_twice_polls_once,
    Every: "T5" => block_on_inside_a_runtime_is_refused_clearly,
    Once: "T5" => outside_of_a_runtime_calls_say_so,
    Once: "T5" => block_on_returns_what_the_future_returns,
];

/// What a panic says.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).expect("panics say something")
}

/// A panicking task is its JoinError; the core and its other tasks go on.
fn a_panicking_task_is_its_join_error_and_the_others_go_on(variant: &Variant) {
    variant.run(async {
        let (ours, other) = pair();
        let echo = ringpark::spawn(async move {
            while let Some(lease) = other.recv().await.expect("bytes come") {
                other.write_all(lease).await.0.expect("it reads");
            }
        });
        for round in 0..10 {
            let panicking = ringpark::spawn(async move {
                if round % 2 == 0 {
                    sleep(ms(1)).await;
                }
                panic!("on purpose in round {round}");
            });
            let error = promptly("the task", panicking).await.map(|(): ()| ()).expect_err("panic");
            assert!(error.is_panic() && !error.is_cancelled());
            assert!(!error.to_string().is_empty());
            assert_eq!(message(&*error.into_panic()), format!("on purpose in round {round}"));
            send(&ours, b"ping").await;
            assert_eq!(receive(&ours, 4).await, b"ping");
        }
        // Nobody waits for this one.
        drop(ringpark::spawn(async { panic!("on purpose, detached") }));
        sleep(ms(1)).await;
        ours.close().await.expect("the first close");
        echo.await.expect("no panic");
        assert_eq!(ringpark::runtime::metrics().tasks, 0);
    });
}

/// A result comes through the handle, before or after it is asked for.
fn a_task_gives_its_result_to_its_handle(variant: &Variant) {
    variant.run(async {
        let early = ringpark::spawn(async { vec![1, 2, 3] });
        assert!(!early.is_finished());
        sleep(ms(1)).await;
        assert!(early.is_finished());
        assert_eq!(early.await.expect("no panic"), [1, 2, 3]);
        let late = ringpark::spawn(async {
            sleep(ms(2)).await;
            String::from("late")
        });
        assert_eq!(late.await.expect("no panic"), "late");
    });
}

/// A handle that is dropped leaves the task to itself.
fn dropping_a_handle_detaches_the_task(variant: &Variant) {
    variant.run(async {
        let (sender, receiver) = oneshot::channel();
        drop(ringpark::spawn(async move {
            sleep(ms(2)).await;
            sender.send(7).expect("main waits");
        }));
        assert_eq!(receiver.await, Ok(7));
    });
}

struct Flag(Rc<Cell<bool>>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// An aborted task is dropped with all that it owns, and its handle says so.
fn abort_ends_a_task_and_drops_what_it_owns(variant: &Variant) {
    variant.run(async {
        let dropped = Rc::new(Cell::new(false));
        let flag = Flag(dropped.clone());
        let task = ringpark::spawn(async move {
            sleep(HOUR).await;
            drop(flag);
        });
        sleep(ms(1)).await;
        assert!(!task.is_finished() && !dropped.get());
        let timers = ringpark::runtime::metrics().timers;
        task.abort();
        let error = promptly("the task", task).await.expect_err("aborted");
        assert!(error.is_cancelled() && !error.is_panic());
        assert!(dropped.get());
        assert!(ringpark::runtime::metrics().timers < timers);
    });
}

/// Too late is too late: the result stays.
fn abort_of_a_task_that_has_ended_does_nothing(variant: &Variant) {
    variant.run(async {
        let task = ringpark::spawn(async { 7 });
        sleep(ms(1)).await;
        task.abort();
        task.abort();
        assert!(task.is_finished());
        assert_eq!(task.await.expect("it had ended"), 7);
    });
}

/// A task that aborts itself ends at its next wait.
fn a_task_may_abort_itself(variant: &Variant) {
    variant.run(async {
        let own: Rc<Cell<Option<ringpark::JoinHandle<()>>>> = Rc::default();
        let (sender, receiver) = oneshot::channel::<()>();
        let task = ringpark::spawn({
            let own = own.clone();
            async move {
                let handle = own.take().expect("main has put it there");
                handle.abort();
                drop(handle);
                sleep(HOUR).await;
                drop(sender);
                panic!("it went on");
            }
        });
        own.set(Some(task));
        assert!(promptly("the task", receiver).await.is_err(), "the sender was dropped");
        assert_eq!(ringpark::runtime::metrics().tasks, 0);
    });
}

/// A task that was aborted before its first turn never runs.
fn a_task_can_be_aborted_before_it_runs(variant: &Variant) {
    variant.run(async {
        let dropped = Rc::new(Cell::new(false));
        let flag = Flag(dropped.clone());
        let task = ringpark::spawn(async move {
            let _flag = flag;
            panic!("it runs");
        });
        task.abort();
        let error = promptly("the task", task).await.map(|(): ()| ()).expect_err("aborted");
        assert!(error.is_cancelled() && dropped.get());
    });
}

/// The operations of an aborted task end, and its stream with them.
fn abort_during_io_lets_go_of_the_stream(variant: &Variant) {
    variant.run(async {
        for kind in 0..3 {
            let (ours, mut plain) = half();
            let task = ringpark::spawn(async move {
                match kind {
                    0 => drop(ours.recv().await),
                    1 => drop(ours.read(vec![0; 64]).await),
                    _ => drop(ours.readable().await),
                }
            });
            sleep(ms(1)).await;
            task.abort();
            assert!(promptly("the task", task).await.expect_err("aborted").is_cancelled());
            let reader = std::thread::spawn(move || std::io::Read::read(&mut plain, &mut [0; 8]));
            until("the peer sees the end", || reader.is_finished()).await;
            assert_eq!(reader.join().expect("no panic").expect("a clean end"), 0);
        }
    });
}

/// A handle can be sent around and waited for elsewhere.
fn a_handle_may_wait_in_another_task(variant: &Variant) {
    variant.run(async {
        let first = ringpark::spawn(async {
            sleep(ms(2)).await;
            1
        });
        let mut first = Box::pin(first);
        start(first.as_mut()).await;
        let second = ringpark::spawn(async move { first.await.expect("no panic") + 1 });
        assert_eq!(promptly("the second", second).await.expect("no panic"), 2);
    });
}

/// A result that nobody takes is dropped; if that panics, the core lives.
fn a_result_that_panics_when_dropped_harms_nobody(variant: &Variant) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("on purpose, in drop");
            }
        }
    }
    variant.run(async {
        drop(ringpark::spawn(async { Bomb }));
        let task = ringpark::spawn(async {
            let _bomb = Bomb;
            sleep(ms(1)).await;
        });
        assert!(promptly("the task", task).await.expect_err("its drop panics").is_panic());
        sleep(ms(1)).await;
        assert_eq!(ringpark::spawn(async { 7 }).await.expect("the core lives"), 7);
    });
}

/// First come, first served.
fn tasks_run_in_the_order_in_which_they_were_spawned(variant: &Variant) {
    variant.run(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let order = order.clone();
                ringpark::spawn(async move { order.borrow_mut().push(number) })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert!(order.borrow().iter().copied().eq(0..100));
    });
}

/// What a future's drop spawns is a task like any other.
fn a_task_spawned_from_a_drop_runs(variant: &Variant) {
    struct Spawns(Option<oneshot::Sender<u32>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let sender = self.0.take();
            ringpark::spawn(async move {
                sleep(ms(1)).await;
                sender.expect("it is there").send(7).expect("main waits");
            });
        }
    }
    variant.run(async {
        for abort in [false, true] {
            let (sender, receiver) = oneshot::channel();
            let spawns = Spawns(Some(sender));
            let task = ringpark::spawn(async move {
                let _spawns = spawns;
                if abort {
                    std::future::pending::<()>().await;
                }
            });
            ringpark::yield_now().await;
            sleep(ms(1)).await;
            task.abort();
            assert_eq!(promptly("the spawned one", receiver).await, Ok(7));
        }
    });
}

/// A hundred thousand tasks, some of which spawn others, all end.
fn many_tasks_come_and_go(variant: &Variant) {
    let count = variant.scale(100_000);
    variant.run(async {
        let ended = Rc::new(Cell::new(0));
        let mut handles = Vec::new();
        for number in 0..count {
            let counter = ended.clone();
            let task = ringpark::spawn(async move {
                if number % 3 == 0 {
                    ringpark::yield_now().await;
                }
                if number % 7 == 0 {
                    sleep(ms(number % 5)).await;
                }
                if number % 11 == 0 {
                    let counter = counter.clone();
                    let inner = ringpark::spawn(async move { counter.set(counter.get() + 1) });
                    inner.await.expect("no panic");
                } else {
                    counter.set(counter.get() + 1);
                }
            });
            if number % 2 == 0 {
                handles.push(task);
            }
        }
        for handle in handles {
            handle.await.expect("no panic");
        }
        until("the detached ones have ended", || ended.get() == count).await;
        assert_eq!(ringpark::runtime::metrics().tasks, 0);
    });
}

/// What a task holds stays on its thread, so it may hold anything.
fn futures_need_not_be_send(variant: &Variant) {
    let local = std::cell::RefCell::new(String::from("borrowed"));
    let text = variant.run(async {
        // The main future may even borrow.
        local.borrow_mut().push_str(" by main");
        let shared = Rc::new(Cell::new(1));
        let task = ringpark::spawn({
            let shared = shared.clone();
            async move {
                ringpark::yield_now().await;
                shared.set(shared.get() + 1);
            }
        });
        task.await.expect("no panic");
        assert_eq!(shared.get(), 2);
        local.borrow().clone()
    });
    assert_eq!(text, "borrowed by main");
}

/// Two wakes before a task runs are one poll.
fn waking_twice_polls_once(variant: &Variant) {
    variant.run(async {
        let polls = Rc::new(Cell::new(0));
        let waker = Rc::new(Cell::new(None));
        let task = ringpark::spawn({
            let (polls, waker) = (polls.clone(), waker.clone());
            std::future::poll_fn(move |context| {
                polls.set(polls.get() + 1);
                waker.set(Some(context.waker().clone()));
                if polls.get() == 3 {
                    return std::task::Poll::Ready(());
                }
                std::task::Poll::Pending
            })
        });
        sleep(ms(1)).await;
        assert_eq!(polls.get(), 1);
        let first = waker.take().expect("it was polled");
        for _ in 0..10 {
            first.wake_by_ref();
        }
        sleep(ms(1)).await;
        assert_eq!(polls.get(), 2);
        first.wake();
        waker.take().expect("it was polled").wake();
        task.await.expect("no panic");
        assert_eq!(polls.get(), 3);
    });
}

/// A runtime inside a runtime would hang; it is refused with a panic that says so.
fn block_on_inside_a_runtime_is_refused_clearly(variant: &Variant) {
    variant.run(async {
        let panic = std::panic::catch_unwind(|| ringpark::block_on(async {}));
        let panic = panic.expect_err("it is refused");
        let said = message(&*panic).to_lowercase();
        assert!(said.contains("inside") || said.contains("within"), "{said}");
        let task = ringpark::spawn(async { ringpark::block_on(async {}) });
        assert!(task.await.expect_err("it is refused").is_panic());
        // And the runtime around it goes on.
        let started = Instant::now();
        assert!(timeout(ms(2), std::future::pending::<()>()).await.is_err());
        assert!(started.elapsed() >= ms(2));
    });
}

/// Outside of a runtime there is nothing to spawn on, and the panic says so.
fn outside_of_a_runtime_calls_say_so(_: &Variant) {
    let says_so = |result: std::thread::Result<()>| {
        let panic = result.expect_err("there is no runtime");
        let said = message(&*panic).to_lowercase();
        assert!(said.contains("runtime") || said.contains("ringpark"), "{said}");
    };
    says_so(std::panic::catch_unwind(|| drop(ringpark::spawn(async {}))));
    says_so(std::panic::catch_unwind(|| assert_eq!(ringpark::runtime::metrics().turns, 0)));
    says_so(std::panic::catch_unwind(|| {
        let mut future = pin!(sleep(ms(1)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::future::Future::poll(future.as_mut(), &mut context);
        assert!(polled.is_ready(), "there is no runtime");
    }));
}

/// `ringpark::block_on` gives back what the future gives.
fn block_on_returns_what_the_future_returns(_: &Variant) {
    let local = String::from("borrowed");
    assert_eq!(ringpark::block_on(async { local.len() }), 8);
    let result: Result<(), &str> = ringpark::block_on(async { Err("an error") });
    assert_eq!(result, Err("an error"));
}
