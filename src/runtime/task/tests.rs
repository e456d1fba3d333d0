//! Tests of the task cell that account for every poll and every drop, and for the memory: each
//! task holds a reference to its core's shared part, so when the core is gone and only the test's
//! own reference is left, every task has been freed.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready, Future};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use super::JoinHandle;
use super::Shared;
use crate::runtime::Core;
use crate::{block_on, spawn, yield_now};

/// Runs a test on a core, and checks afterwards that all of its tasks are freed.
fn on_core<T>(test: impl Future<Output = T>) -> T {
    let shared: Rc<RefCell<Option<Arc<Shared>>>> = Rc::default();
    let kept = shared.clone();
    let output = block_on(async move {
        *kept.borrow_mut() = Some(Core::current().shared.clone());
        test.await
    });
    let shared = shared.take().expect("the core ran");
    assert_eq!(Arc::strong_count(&shared), 1, "a task or the core itself was not freed");
    output
}

/// Counts its drops, and panics in one if it is told to.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<u32>>);

struct Counted(Drops);

impl Drops {
    fn counted(&self) -> Counted {
        Counted(self.clone())
    }

    fn get(&self) -> u32 {
        self.0.get()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let drops = &self.0 .0;
        drops.set(drops.get() + 1);
    }
}

struct PanicsInDrop(&'static str);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A task that gives its waker away and is done when it is polled again.
async fn wait_for_wake(wakers: impl FnOnce(Waker)) {
    let mut wakers = Some(wakers);
    poll_fn(|cx| match wakers.take() {
        Some(give) => {
            give(cx.waker().clone());
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await
}

/// What a task was last polled with.
type LastWaker = Rc<RefCell<Option<Waker>>>;

/// Counts its polls and is never done.
fn counting_polls() -> (Rc<Cell<u32>>, LastWaker, impl Future<Output = ()>) {
    let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
    let (count, slot) = (polls.clone(), waker.clone());
    let future = poll_fn(move |cx| {
        count.set(count.get() + 1);
        *slot.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    });
    (polls, waker, future)
}

fn wake(waker: &LastWaker) {
    waker.borrow().as_ref().expect("it was polled").wake_by_ref();
}

#[test]
fn a_detached_task_drops_its_future_and_its_output_when_it_is_done() {
    on_core(async {
        let (future, output) = (Drops::default(), Drops::default());
        let (captured, result) = (future.counted(), output.counted());
        drop(spawn(async move {
            let _captured = captured;
            result
        }));
        assert_eq!((future.get(), output.get()), (0, 0), "it does not run before its turn");
        yield_now().await;
        assert_eq!((future.get(), output.get()), (1, 1));
    });
}

#[test]
fn the_output_waits_for_the_handle_and_goes_with_it() {
    on_core(async {
        let output = Drops::default();
        let (awaited, dropped) = (output.counted(), output.counted());
        let (awaited, dropped) = (spawn(ready(awaited)), spawn(ready(dropped)));
        yield_now().await;
        assert!(awaited.is_finished() && dropped.is_finished());
        assert_eq!(output.get(), 0);
        drop(dropped);
        assert_eq!(output.get(), 1);
        drop(awaited.await.unwrap());
        assert_eq!(output.get(), 2);
    });
}

#[test]
fn a_task_that_is_aborted_before_its_turn_is_never_polled() {
    on_core(async {
        let (polls, _, future) = counting_polls();
        let task = spawn(future);
        task.abort();
        assert!(!task.is_finished(), "it ends at its turn, not within the call");
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(polls.get(), 0);
    });
}

#[test]
fn an_aborted_task_drops_its_future_once() {
    on_core(async {
        let drops = Drops::default();
        let captured = drops.counted();
        let task = spawn(async move {
            let _captured = captured;
            pending::<()>().await
        });
        yield_now().await;
        task.abort();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_task_that_is_done_stays_done_when_it_is_aborted() {
    on_core(async {
        let task = spawn(ready(42));
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(task.await.unwrap(), 42);
    });
}

#[test]
fn a_task_can_abort_itself() {
    on_core(async {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let (handle, drops) = (own.clone(), Drops::default());
        let captured = drops.counted();
        *own.borrow_mut() = Some(spawn(async move {
            let _captured = captured;
            handle.borrow().as_ref().expect("it was spawned").abort();
            pending::<()>().await
        }));
        yield_now().await;
        assert_eq!(drops.get(), 1);
        let task = own.take().unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_may_own_its_own_handle() {
    on_core(async {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let captured = own.clone();
        *own.borrow_mut() = Some(spawn(async move {
            let _captured = captured;
            yield_now().await;
        }));
        drop(own);
        yield_now().await;
        yield_now().await;
        yield_now().await;
        assert_eq!(crate::runtime::metrics().tasks, 0);
    });
}

#[test]
fn wakes_before_the_turn_make_one_poll_and_wakes_within_it_another() {
    on_core(async {
        let (polls, waker, future) = counting_polls();
        let task = spawn(future);
        yield_now().await;
        assert_eq!(polls.get(), 1);
        wake(&waker);
        wake(&waker);
        yield_now().await;
        assert_eq!(polls.get(), 2);
        yield_now().await;
        assert_eq!(polls.get(), 2, "it is not polled unless it is woken");
        task.abort();

        let polls = Rc::new(Cell::new(0));
        let count = polls.clone();
        let selfish = spawn(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            if count.get() < 3 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
        selfish.await.unwrap();
        assert_eq!(polls.get(), 3, "one that wakes itself is polled until it is done, and no more");
    });
}

#[test]
fn a_wake_after_the_end_does_nothing() {
    on_core(async {
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let slot = waker.clone();
        let task = spawn(poll_fn(move |cx| {
            *slot.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        task.await.unwrap();
        let before = crate::runtime::metrics().polls;
        wake(&waker);
        yield_now().await;
        assert_eq!(crate::runtime::metrics().polls, before + 1, "only this one, by its yield");
    });
}

#[test]
fn a_panic_is_the_tasks_result_and_nobody_elses() {
    on_core(async {
        let drops = Drops::default();
        let captured = drops.counted();
        let panics = spawn(async move {
            let _captured = captured;
            yield_now().await;
            panic!("in the task");
        });
        let other = spawn(async {
            yield_now().await;
            yield_now().await;
            1
        });
        let error = panics.await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: in the task");
        assert_eq!(error.into_panic().downcast_ref(), Some(&"in the task"));
        assert_eq!(drops.get(), 1);
        assert_eq!(other.await.unwrap(), 1);
    });
}

#[test]
fn a_panic_in_a_destructor_of_the_future_is_the_tasks_result() {
    on_core(async {
        let at_the_end = spawn(async {
            let _held = PanicsInDrop("at the end");
        });
        assert!(at_the_end.await.unwrap_err().to_string().ends_with("at the end"));

        let when_aborted = spawn(async {
            let _held = PanicsInDrop("when aborted");
            pending::<()>().await
        });
        yield_now().await;
        when_aborted.abort();
        assert!(when_aborted.await.unwrap_err().to_string().ends_with("when aborted"));
    });
}

#[test]
fn a_panic_in_the_destructor_of_an_unwanted_output_ends_nothing() {
    on_core(async {
        drop(spawn(ready(PanicsInDrop("detached"))));
        let unwanted = spawn(ready(PanicsInDrop("unwanted")));
        yield_now().await;
        drop(unwanted);
        assert_eq!(spawn(ready(1)).await.unwrap(), 1);
    });
}

#[test]
fn the_last_task_that_awaits_a_handle_is_woken() {
    on_core(async {
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let slot = waker.clone();
        let mut task = spawn(wait_for_wake(move |given| *slot.borrow_mut() = Some(given)));
        // Polled by another task first, then awaited here.
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut context).is_pending());
        yield_now().await;
        wake(&waker);
        task.await.unwrap();
    });
}

#[test]
// The handle itself is what is handed out.
#[allow(clippy::async_yields_async)]
fn the_end_of_a_runtime_drops_its_tasks_and_what_they_spawn_in_their_end() {
    struct SpawnsInDrop(Drops, u32);
    impl Drop for SpawnsInDrop {
        fn drop(&mut self) {
            let counted = self.0.counted();
            let next = (self.1 > 0).then(|| SpawnsInDrop(self.0.clone(), self.1 - 1));
            drop(spawn(async move {
                let _held = (counted, next);
                pending::<()>().await
            }));
        }
    }
    let drops = Drops::default();
    let left = block_on(async {
        let held = SpawnsInDrop(drops.clone(), 3);
        let handle = spawn(async move {
            let _held = held;
            pending::<()>().await
        });
        yield_now().await;
        handle
    });
    assert_eq!(drops.get(), 4);
    assert!(left.is_finished());
    left.abort();
    assert!(block_on(left).unwrap_err().is_cancelled());
}

#[test]
// The handle itself is what is handed out.
#[allow(clippy::async_yields_async)]
fn a_handle_keeps_its_output_beyond_the_runtime() {
    let drops = Drops::default();
    let output = drops.counted();
    let handle = block_on(async {
        let handle = spawn(ready(output));
        yield_now().await;
        handle
    });
    assert_eq!(drops.get(), 0);
    drop(handle);
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_waker_may_outlive_the_runtime_on_any_thread() {
    let (send, wakers) = mpsc::channel();
    block_on(async {
        for _ in 0..3 {
            let send = send.clone();
            drop(spawn(wait_for_wake(move |waker| send.send(waker).unwrap())));
        }
        yield_now().await;
    });
    let mut wakers: Vec<Waker> = wakers.try_iter().collect();
    assert_eq!(wakers.len(), 3);
    wakers.pop().unwrap().wake();
    wakers[0].wake_by_ref();
    assert!(wakers[0].will_wake(&wakers[0].clone()));
    thread::spawn(move || wakers.into_iter().for_each(Waker::wake)).join().unwrap();
}

/// Foreign threads wake, clone and drop without pause, also when the task has ended already. That
/// nothing is freed too early is for the address sanitizer to see, that all is freed for the count.
#[test]
fn wakes_from_other_threads_are_never_lost_nor_too_late_to_be_safe() {
    const TASKS: usize = 2000;
    const THREADS: usize = 3;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = on_core(async {
        let (senders, threads): (Vec<_>, Vec<_>) = (0..THREADS)
            .map(|_| {
                let (send, wakers) = mpsc::channel::<Waker>();
                let wakes = move || {
                    for waker in wakers {
                        let clone = waker.clone();
                        waker.wake_by_ref();
                        drop(waker);
                        clone.wake();
                    }
                };
                (send, thread::spawn(wakes))
            })
            .unzip();
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let (senders, done) = (senders.clone(), done.clone());
                let give = move |waker: Waker| {
                    // More than one thread gets it: those that come late find the task done.
                    for sender in &senders[..1 + number % THREADS] {
                        sender.send(waker.clone()).unwrap();
                    }
                };
                spawn(async move {
                    wait_for_wake(give).await;
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        drop(senders);
        for task in tasks {
            task.await.unwrap();
        }
        // The threads end on their own, with wakers of tasks that are done; but they have to be
        // through with them before the references are counted.
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((threads.len(), done.load(Ordering::Relaxed)), (THREADS, TASKS));
}
