//! Work that is placed on a core: by the core's handle, by its load, or on a helper thread.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Instant;

use ringpark::runtime::{cores, CoreHandle};
use ringpark::time::sleep;
use ringpark::{spawn_anywhere, spawn_blocking, spawn_on};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z1" => a_task_is_spawned_on_another_core_and_its_result_comes_back,
    Every: "Z1" => a_foreign_thread_spawns_on_a_core_and_waits_for_the_result,
    Every: "Z1" => a_panic_on_another_core_is_the_join_error_of_the_handle,
    Every: "Z1" => a_task_on_another_core_is_aborted_from_here,
    Every: "Z1" => tasks_for_a_core_that_has_ended_are_refused,
    Every: "Z1" => a_remote_task_that_the_end_of_its_core_cuts_off_is_cancelled,
    Every: "Z1" => too_many_tasks_that_wait_to_be_started_are_refused_and_counted,
    Every: "Z7" => every_main_finds_all_cores,
    Every: "Z12" => work_that_may_run_anywhere_spreads,
    Every: "Z12" => a_busy_core_is_passed_over,
    Every: "T6" => blocking_work_leaves_the_core_free,
    Every: "T6" => blocking_work_that_panics_is_a_join_error,
    Every: "T6" => blocking_work_that_has_not_started_can_be_aborted,
];

/// The closure runs on the other core's thread, what it makes need not be `Send`, and the
/// result comes back.
fn a_task_is_spawned_on_another_core_and_its_result_comes_back(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let here = thread::current().id();
        let rounds = variant.scale(1000);
        for number in 0..rounds {
            let handle = spawn_on(&other, move || {
                let kept = Rc::new(Cell::new(number));
                async move {
                    ringpark::yield_now().await;
                    kept.set(kept.get() + 1);
                    (thread::current().id(), kept.get())
                }
            });
            let (there, result) = promptly("a remote task", handle).await.expect("it ends well");
            assert_ne!(there, here);
            assert_eq!(result, number + 1);
        }
        // Here too, if that is the core that is named.
        let own = spawn_on(&CoreHandle::current(), || async { thread::current().id() });
        assert_eq!(own.await.expect("it ends well"), here);
    });
}

/// A thread that runs no core spawns, and blocks until the result is there.
fn a_foreign_thread_spawns_on_a_core_and_waits_for_the_result(variant: &Variant) {
    variant.run(async {
        let core = CoreHandle::current();
        let here = thread::current().id();
        let rounds = variant.scale(1000);
        let foreign = thread::spawn(move || {
            for number in 0..rounds {
                let handle = spawn_on(&core, move || async move {
                    sleep(std::time::Duration::ZERO).await;
                    (thread::current().id(), number)
                });
                let (there, result): (ThreadId, u64) = handle.wait().expect("it ends well");
                assert_eq!((there, result), (here, number));
            }
        });
        until("the foreign thread has all results", || foreign.is_finished()).await;
        foreign.join().expect("no panic");
    });
}

/// A panic, of the closure or of its future, goes to who awaits; the core goes on.
fn a_panic_on_another_core_is_the_join_error_of_the_handle(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let early = spawn_on(&other, || -> std::future::Ready<()> { panic!("in the closure") });
        let error = early.await.expect_err("it panics");
        assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"in the closure"));
        let late = spawn_on(&other, || async {
            sleep(ms(1)).await;
            panic!("in the future")
        });
        let error: ringpark::JoinError = late.await.expect_err("it panics");
        assert!(error.is_panic(), "{error}");
        assert_eq!(spawn_on(&other, || async { 7 }).await.expect("the core goes on"), 7);
    });
}

/// Abort reaches a task that waits on another core; its future is dropped there.
fn a_task_on_another_core_is_aborted_from_here(variant: &Variant) {
    struct Dropped(mpsc::Sender<ThreadId>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).expect("the test waits for it");
        }
    }
    on_two_cores(variant, |other| async move {
        let (sender, drops) = mpsc::channel();
        let started = Arc::new(AtomicBool::new(false));
        let handle = spawn_on(&other, {
            let started = started.clone();
            move || async move {
                let _noted = Dropped(sender);
                started.store(true, Ordering::Release);
                sleep(HOUR).await;
            }
        });
        until("the task has started", || started.load(Ordering::Acquire)).await;
        assert!(!handle.is_finished());
        handle.abort();
        let error = promptly("the end of an aborted task", handle).await.expect_err("aborted");
        assert!(error.is_cancelled(), "{error}");
        let there = drops.try_recv().expect("it has been dropped before the handle says so");
        assert_ne!(there, thread::current().id());
    });
}

/// A handle outlives its core; what is spawned there then is refused, and says so.
fn tasks_for_a_core_that_has_ended_are_refused(variant: &Variant) {
    let core = variant.run(async { CoreHandle::current() });
    assert!(core.is_closed());
    let value = Arc::new(());
    let kept = value.clone();
    let error = spawn_on(&core, move || async move { drop(kept) }).wait().expect_err("refused");
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("has ended"), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::ResourceBusy);
    assert_eq!(Arc::strong_count(&value), 1, "the closure is dropped");
    assert_eq!(core.load().busy, 0.0);
}

/// Who awaits a task whose core ends is told, whether it had been taken in or not.
fn a_remote_task_that_the_end_of_its_core_cuts_off_is_cancelled(variant: &Variant) {
    let (sender, handles) = mpsc::channel();
    variant.run(async {
        let core = CoreHandle::current();
        let foreign = thread::spawn(move || {
            for _ in 0..100 {
                let waits = spawn_on(&core, std::future::pending::<()>);
                sender.send(waits).expect("the test keeps the handles");
            }
        });
        until("half have been spawned", || ringpark::runtime::metrics().tasks > 50).await;
        foreign.join().expect("no panic");
    });
    let mut count = 0;
    for handle in handles {
        assert!(handle.wait().expect_err("its core has ended").is_cancelled());
        count += 1;
    }
    assert_eq!(count, 100);
}

/// A core that takes nothing in is no hang and no end of memory: what is too much is refused.
fn too_many_tasks_that_wait_to_be_started_are_refused_and_counted(variant: &Variant) {
    const LIMIT: usize = 65_536;
    variant.run(async {
        let core = CoreHandle::current();
        let started = Arc::new(AtomicUsize::new(0));
        let counter = started.clone();
        // This blocks the core on purpose: nothing is taken in meanwhile.
        let refused = thread::spawn(move || {
            let mut refused = 0;
            for _ in 0..LIMIT + 10 {
                let counter = counter.clone();
                let handle = spawn_on(&core, move || async move {
                    counter.fetch_add(1, Ordering::Relaxed);
                });
                if handle.is_finished() {
                    assert!(handle.wait().expect_err("at once").is_refused());
                    refused += 1;
                }
            }
            assert_eq!(core.load().pending, LIMIT as u64);
            refused
        });
        assert_eq!(refused.join().expect("no panic"), 10);
        until("all others have run", || started.load(Ordering::Relaxed) == LIMIT).await;
        assert_eq!(CoreHandle::current().load().pending, 0);
    });
}

/// No main starts before all cores are there to be spawned on.
fn every_main_finds_all_cores(variant: &Variant) {
    let seen = Mutex::new(Vec::new());
    variant
        .builder()
        .cores(3)
        .run(|| async {
            let ids: Vec<_> = cores().iter().map(CoreHandle::id).collect();
            assert_eq!(ids.len(), 3);
            assert!(ids.contains(&CoreHandle::current().id()));
            seen.lock().expect("nobody panics").push(ids);
            // None goes before all have looked.
            while seen.lock().expect("nobody panics").len() < 3 {
                sleep(ms(1)).await;
            }
            Ok(())
        })
        .expect("all end well");
    let seen = seen.into_inner().expect("nobody panics");
    assert!(seen.iter().all(|ids| *ids == seen[0]), "in one order: {seen:?}");
}

/// A burst of tasks that wait is spread evenly, although none of them has run yet.
fn work_that_may_run_anywhere_spreads(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let handles: Vec<_> = (0..200)
            .map(|_| {
                let (counts, other) = (counts.clone(), other.clone());
                spawn_anywhere(move || async move {
                    let there = CoreHandle::current() == other;
                    counts[usize::from(there)].fetch_add(1, Ordering::Relaxed);
                    sleep(ms(50)).await;
                })
            })
            .collect();
        for handle in handles {
            handle.await.expect("it ends well");
        }
        let counts = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts.iter().sum::<usize>(), 200);
        assert!(counts.iter().all(|&count| count >= 30), "not even: {counts:?}");
    });
}

/// Of two cores with equally many tasks the idle one is chosen.
fn a_busy_core_is_passed_over(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let end = Instant::now() + ms(300);
        let busy = spawn_on(&other, move || async move {
            while Instant::now() < end {
                ringpark::yield_now().await;
            }
        });
        let idle = ringpark::spawn(sleep(ms(300)));
        sleep(ms(60)).await;
        let all = cores();
        // The first look begins the measurement, the next ones have the last tens of milliseconds.
        drop(all.iter().map(CoreHandle::load).collect::<Vec<_>>());
        sleep(ms(60)).await;
        let chosen = ringpark::runtime::least_loaded(&all).expect("two run").clone();
        let (here, there) = (all[0].load(), all[1].load());
        assert!(here.busy < there.busy, "{here:?} {there:?}");
        assert_eq!(chosen, CoreHandle::current(), "{here:?} {there:?}");
        busy.await.expect("it ends well");
        idle.await.expect("it ends well");
    });
}

/// What blocks is done elsewhere, while the core goes on.
fn blocking_work_leaves_the_core_free(variant: &Variant) {
    variant.run(async {
        let here = thread::current().id();
        let (go, gate) = mpsc::channel::<()>();
        let work = spawn_blocking(move || {
            gate.recv().expect("the core goes on");
            thread::current().id()
        });
        sleep(ms(1)).await;
        assert!(!work.is_finished());
        go.send(()).expect("the work waits");
        assert_ne!(work.await.expect("it ends well"), here);
    });
}

/// A panic of blocking work is an error of its handle, and the helper thread goes on.
fn blocking_work_that_panics_is_a_join_error(variant: &Variant) {
    variant.run(async {
        let error = spawn_blocking(|| panic!("in the work")).await.expect_err("it panics");
        assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"in the work"));
        assert_eq!(spawn_blocking(|| 3).await.expect("it ends well"), 3);
    });
}

/// The pool is bounded; work that waits for a thread can be taken back, and is not done.
fn blocking_work_that_has_not_started_can_be_aborted(variant: &Variant) {
    variant.run_on(variant.builder().max_blocking_threads(1), async {
        let (started, starts) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let first = spawn_blocking(move || {
            started.send(()).expect("the test waits");
            gate.recv().expect("the test opens the gate");
        });
        until("the only helper thread is busy", || starts.try_recv().is_ok()).await;
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let second = spawn_blocking(move || counter.fetch_add(1, Ordering::Relaxed));
        second.abort();
        go.send(()).expect("the work waits");
        first.await.expect("it ends well");
        assert!(second.await.expect_err("aborted").is_cancelled());
        assert_eq!(done.load(Ordering::Relaxed), 0);
    });
}
