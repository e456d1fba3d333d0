//! Models of what threads do to each other here, for loom: it runs each of them in every order of
//! steps that the memory model allows. `ci/loom.sh` runs them.
//!
//! A thread that is asleep is modelled as one that waits for all others to end, and then asserts
//! that somebody notified it: if nobody did, it would have slept for ever.

use std::panic::Location;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};

use super::{JoinError, Origin, Shared, TaskRef};
use crate::sync::Biased;
use crate::sys::WakeFd;

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Arc::new(WakeFd::new(true).expect("a descriptor"))))
}

fn task(shared: &Arc<Shared>) -> TaskRef {
    let origin = Origin::at(Location::caller());
    let task = TaskRef::new(std::future::pending::<()>(), shared.clone(), origin);
    // The core has it.
    task.set_key(0);
    task
}

fn notifies(shared: &Shared) -> u64 {
    shared.notifies.load(std::sync::atomic::Ordering::Relaxed)
}

/// Sleeps, if `park` allows it, until the other threads have ended.
fn sleep(shared: &Shared, others: &mut Vec<JoinHandle<()>>) {
    let before = notifies(shared);
    if shared.park() {
        others.drain(..).for_each(|other| other.join().expect("a waker thread panicked"));
        assert!(notifies(shared) > before, "asleep, and nobody will wake it");
        shared.unpark();
    }
}

/// The core lets go of its task. If all references were counted right, that frees it, and the test
/// has the last reference to the core's shared part.
fn end(task: TaskRef, shared: &Arc<Shared>) {
    task.fail(JoinError::cancelled());
    task.release();
    drop(shared.close());
    assert_eq!(Arc::strong_count(shared), 1, "the task was not freed");
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    loom::model(|| {
        let shared = shared();
        let task = task(&shared);
        let waker = task.waker();
        let mut others = vec![thread::spawn(move || waker.wake())];
        while shared.receive().count() == 0 {
            sleep(&shared, &mut others);
        }
        others.drain(..).for_each(|other| other.join().unwrap());
        assert_eq!(shared.receive().count(), 0, "one wake was received twice");
        end(task, &shared);
    });
}

#[test]
fn what_was_done_before_a_wake_is_seen_by_the_poll_after_it() {
    loom::model(|| {
        let shared = shared();
        let task = task(&shared);
        let done: Arc<[AtomicBool; 2]> = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let mut others: Vec<_> = (0..2)
            .map(|number| {
                let (waker, done) = (task.waker(), done.clone());
                thread::spawn(move || {
                    done[number].store(true, Ordering::Relaxed);
                    waker.wake();
                })
            })
            .collect();
        // The two wakes may come as one. Then the one poll must see what both threads did.
        let is_done = || done.iter().all(|done| done.load(Ordering::Relaxed));
        while !(shared.receive().count() > 0 && is_done()) {
            sleep(&shared, &mut others);
        }
        others.drain(..).for_each(|other| other.join().unwrap());
        end(task, &shared);
    });
}

#[test]
fn two_tasks_in_one_inbox_are_both_received() {
    loom::model(|| {
        let shared = shared();
        let tasks = [task(&shared), task(&shared)];
        let mut others: Vec<_> = tasks
            .iter()
            .map(|task| {
                let waker = task.waker();
                thread::spawn(move || waker.wake())
            })
            .collect();
        let mut received = 0;
        while received < 2 {
            received += shared.receive().count();
            if received < 2 {
                sleep(&shared, &mut others);
            }
        }
        others.drain(..).for_each(|other| other.join().unwrap());
        for task in tasks {
            task.fail(JoinError::cancelled());
            task.release();
        }
        assert_eq!(Arc::strong_count(&shared), 1, "a task was not freed");
    });
}

#[test]
fn a_wake_that_races_with_the_end_of_the_core_frees_the_task() {
    loom::model(|| {
        let shared = shared();
        let task = task(&shared);
        let waker = task.waker();
        let other = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        task.fail(JoinError::cancelled());
        task.release();
        drop(shared.close());
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&shared), 1, "the task was not freed");
    });
}

/// A future that says when it is dropped.
struct Noted(Arc<AtomicUsize>);

impl std::future::Future for Noted {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::task::Poll::Pending
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Spawns on the core from a thread of its own, with a handle that wakes the task meanwhile.
fn newborn_from_another_thread(shared: &Arc<Shared>, drops: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let (shared, drops) = (shared.clone(), drops.clone());
    thread::spawn(move || {
        let task = TaskRef::new(Noted(drops), shared.clone(), Origin::at(Location::caller()));
        let waker = task.waker();
        task.deliver();
        waker.wake();
    })
}

#[test]
fn a_task_from_another_thread_ends_the_sleep_and_is_taken_in_once() {
    loom::model(|| {
        let (shared, drops) = (shared(), Arc::new(AtomicUsize::new(0)));
        let mut others = vec![newborn_from_another_thread(&shared, &drops)];
        let mut taken = None;
        while taken.is_none() {
            for task in shared.receive() {
                assert!(task.is_newborn());
                task.set_key(0);
                taken = Some(task);
            }
            if taken.is_none() {
                sleep(&shared, &mut others);
            }
        }
        others.drain(..).for_each(|other| other.join().unwrap());
        // The wake may have come while the task was in the inbox, or afterwards.
        assert!(shared.receive().count() <= 1);
        end(taken.expect("just taken"), &shared);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_task_from_another_thread_that_races_with_the_end_of_the_core_is_dropped_once() {
    loom::model(|| {
        let (shared, drops) = (shared(), Arc::new(AtomicUsize::new(0)));
        let other = newborn_from_another_thread(&shared, &drops);
        drop(shared.close());
        other.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&shared), 1, "the task was not freed");
    });
}

#[test]
fn ten_notifies_of_one_sleep_cost_one_system_call() {
    loom::model(|| {
        let shared = shared();
        assert!(shared.park());
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.notify())
            })
            .collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(notifies(&shared), 1);
    });
}

#[test]
fn exactly_one_is_the_last_to_let_go() {
    loom::model(|| {
        // The owner's share, one reference that the owner handed out, and one made elsewhere.
        let count = Arc::new(Biased::new(1));
        let last = Arc::new(AtomicUsize::new(0));
        count.add_local();
        let others: Vec<_> = (0..2)
            .map(|number| {
                if number > 0 {
                    count.add_shared();
                }
                let (count, last) = (Foreign(count.clone()), last.clone());
                thread::spawn(move || count.churn_and_let_go(&last))
            })
            .collect();
        let owner_is_last = count.sub_local() | count.merge();
        last.fetch_add(owner_is_last.into(), Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(last.load(Ordering::Relaxed), 1);
    });
}

/// A reference count in the hands of a thread that does not own it.
struct Foreign(Arc<Biased>);

// SAFETY: the methods below use the part of the count only that any thread may use.
unsafe impl Send for Foreign {}

impl Foreign {
    fn churn_and_let_go(self, last: &AtomicUsize) {
        self.0.add_shared();
        assert!(!self.0.sub_shared(), "a reference is still held here");
        if self.0.sub_shared() {
            last.fetch_add(1, Ordering::Relaxed);
        }
    }
}
