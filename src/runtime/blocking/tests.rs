//! Tests of the helper threads. What they wait for is a message or a count, never a time.

use super::*;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

/// A bound for what has to happen, so that a broken pool fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

fn pool(
    threads_max: usize,
    keep: Duration,
    start: fn(&'static HelperThreads) -> io::Result<()>,
) -> &'static HelperThreads {
    // Pools live for ever. Kept here, they are no leak in the eyes of a sanitizer.
    static POOLS: Mutex<Vec<&'static HelperThreads>> = Mutex::new(Vec::new());
    let pool: &'static HelperThreads =
        Box::leak(Box::new(HelperThreads::new(threads_max, keep, start)));
    lock(&POOLS).push(pool);
    pool
}

/// Sends its number when it is woken.
struct Messenger {
    number: u32,
    woken: Mutex<Sender<u32>>,
}

impl Wake for Messenger {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().send(self.number).expect("nobody waits for this wake any more");
    }
}

fn messenger(number: u32, woken: &Sender<u32>) -> Waker {
    Waker::from(Arc::new(Messenger { number, woken: Mutex::new(woken.clone()) }))
}

/// Work on the helper threads of `pool`.
fn on<T: Send + 'static>(
    pool: &'static HelperThreads,
    work: impl FnOnce() -> T + Send + 'static,
) -> Blocking<T> {
    Blocking(pool.run(work))
}

fn poll<T>(work: &mut Blocking<T>, waker: &Waker) -> Poll<io::Result<T>> {
    Pin::new(work).poll(&mut Context::from_waker(waker))
}

fn await_here<T>(mut work: Blocking<T>) -> io::Result<T> {
    let (sender, woken) = channel();
    loop {
        match poll(&mut work, &messenger(0, &sender)) {
            Poll::Ready(result) => return result,
            Poll::Pending => woken.recv_timeout(PATIENCE).expect("never woken"),
        };
    }
}

/// Work that says when it starts, and goes on when it is told to.
fn gated(
    pool: &'static HelperThreads,
    number: u32,
    started: &Sender<u32>,
) -> (Blocking<u32>, Sender<()>) {
    let (go, gate) = channel::<()>();
    let started = started.clone();
    let work = on(pool, move || {
        started.send(number).expect("the test waits for the start");
        gate.recv().expect("the test opens the gate");
        number
    });
    (work, go)
}

/// Waits until the pool's counts satisfy `condition`.
fn wait_until(pool: &HelperThreads, condition: impl Fn(&State) -> bool) {
    let start = Instant::now();
    while !condition(&lock(&pool.state)) {
        assert!(start.elapsed() < PATIENCE, "the pool never gets there");
        thread::yield_now();
    }
}

fn receive<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("nothing came")
}

#[test]
fn the_result_of_work_comes_back() {
    assert_eq!(await_here(run(|| 6 * 7)).unwrap(), 42);
}

#[test]
fn work_runs_on_a_thread_of_its_own() {
    let here = thread::current().id();
    let there = await_here(run(|| thread::current().id())).unwrap();
    assert_ne!(here, there);
}

#[test]
fn the_end_of_the_work_wakes_the_last_waker_only() {
    let pool = pool(1, KEEP, start_thread);
    let (started, starts) = channel();
    let (woken, wakes) = channel();
    let (mut work, go) = gated(pool, 7, &started);
    receive(&starts);
    assert!(poll(&mut work, &messenger(1, &woken)).is_pending());
    assert!(poll(&mut work, &messenger(2, &woken)).is_pending());
    go.send(()).unwrap();
    assert_eq!(receive(&wakes), 2);
    assert_eq!(poll(&mut work, Waker::noop()).map(Result::unwrap), Poll::Ready(7));
    drop(woken);
    assert!(wakes.recv_timeout(PATIENCE).is_err(), "the first waker is gone, unwoken");
}

#[test]
fn a_panic_goes_on_in_the_task_that_awaits_the_work() {
    let pool = pool(1, KEEP, start_thread);
    let work = on(pool, || panic!("in the work"));
    let panic = catch_unwind(AssertUnwindSafe(|| await_here(work))).expect_err("no panic came out");
    assert_eq!(panic.downcast_ref(), Some(&"in the work"));
    // The thread is still there for others.
    assert_eq!(await_here(on(pool, || 1)).unwrap(), 1);
    assert_eq!(lock(&pool.state).threads, 1);
}

#[test]
fn dropping_the_future_discards_the_result_but_not_the_work() {
    struct Result(Sender<&'static str>);
    impl Drop for Result {
        fn drop(&mut self) {
            self.0.send("dropped").expect("the test waits for the drop");
        }
    }
    let pool = pool(1, KEEP, start_thread);
    let (events, log) = channel();
    let (go, gate) = channel::<()>();
    let work = on(pool, move || {
        gate.recv().expect("the test opens the gate");
        events.send("done").expect("the test waits for the end");
        Result(events)
    });
    drop(work);
    go.send(()).unwrap();
    assert_eq!([receive(&log), receive(&log)], ["done", "dropped"]);
}

#[test]
fn a_finished_result_is_dropped_with_its_future() {
    let pool = pool(1, KEEP, start_thread);
    let value = Arc::new(());
    let work = on(pool, {
        let value = value.clone();
        move || value
    });
    wait_until(pool, |state| state.idle == 1);
    assert_eq!(Arc::strong_count(&value), 2);
    drop(work);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn work_beyond_the_bound_on_threads_waits_in_the_queue() {
    let pool = pool(2, KEEP, start_thread);
    let (started, starts) = channel();
    let (works, gates): (Vec<_>, Vec<_>) =
        (0..5).map(|number| gated(pool, number, &started)).unzip();
    let mut first = [receive(&starts), receive(&starts)];
    first.sort();
    assert_eq!(first, [0, 1], "first come, first served");
    {
        let state = lock(&pool.state);
        assert_eq!((state.threads, state.idle, state.queue.len()), (2, 0, 3));
    }
    gates.iter().for_each(|go| go.send(()).unwrap());
    let results: Vec<_> = works.into_iter().map(|work| await_here(work).unwrap()).collect();
    assert_eq!(results, [0, 1, 2, 3, 4]);
    assert_eq!(lock(&pool.state).threads, 2);
}

#[test]
fn an_idle_thread_is_used_before_another_one_is_started() {
    let pool = pool(8, PATIENCE, start_thread);
    for number in 0..100 {
        assert_eq!(await_here(on(pool, move || number)).unwrap(), number);
        wait_until(pool, |state| state.idle == 1);
        assert_eq!(lock(&pool.state).threads, 1);
    }
    // But one idle thread does not stand for two pieces of work.
    let (started, starts) = channel();
    let (works, gates): (Vec<_>, Vec<_>) =
        (0..2).map(|number| gated(pool, number, &started)).unzip();
    receive(&starts);
    receive(&starts);
    gates.iter().for_each(|go| go.send(()).unwrap());
    works.into_iter().for_each(|work| assert!(await_here(work).is_ok()));
    assert_eq!(lock(&pool.state).threads, 2);
}

#[test]
fn an_idle_thread_leaves_and_is_replaced_when_there_is_work_again() {
    let pool = pool(8, Duration::ZERO, start_thread);
    for number in 0..10 {
        assert_eq!(await_here(on(pool, move || number)).unwrap(), number);
        wait_until(pool, |state| state.threads == 0 && state.idle == 0);
    }
}

#[test]
fn threads_that_come_and_go_lose_no_work() {
    let pool = pool(3, Duration::ZERO, start_thread);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..2000 {
        let done = done.clone();
        drop(on(pool, move || done.fetch_add(1, Ordering::Relaxed)));
    }
    wait_until(pool, |state| state.threads == 0);
    assert_eq!(done.load(Ordering::Relaxed), 2000);
    assert!(lock(&pool.state).queue.is_empty());
}

#[test]
fn work_ends_with_an_error_if_no_thread_can_be_started() {
    let pool = pool(8, KEEP, |_| Err(io::Error::from_raw_os_error(11)));
    let error = await_here(on(pool, || unreachable!("there is no thread"))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    let text = error.to_string();
    assert!(text.starts_with("no helper thread can be started: "), "{text}");
    let state = lock(&pool.state);
    assert_eq!((state.threads, state.queue.len()), (0, 0));
}

#[test]
fn work_waits_for_a_running_thread_if_no_further_one_can_be_started() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let pool = pool(8, KEEP, |pool| match STARTED.fetch_add(1, Ordering::Relaxed) {
        0 => start_thread(pool),
        _ => Err(io::Error::from_raw_os_error(11)),
    });
    let (started, starts) = channel();
    let (first, go) = gated(pool, 1, &started);
    receive(&starts);
    let second = on(pool, || 2);
    assert_eq!(STARTED.load(Ordering::Relaxed), 2, "it was tried");
    assert_eq!(lock(&pool.state).threads, 1);
    go.send(()).unwrap();
    assert_eq!(await_here(first).unwrap(), 1);
    assert_eq!(await_here(second).unwrap(), 2);
}

#[test]
fn a_thread_outlives_a_panicking_waker_and_a_panicking_drop() {
    struct PanicsWhenWoken;
    impl Wake for PanicsWhenWoken {
        fn wake(self: Arc<Self>) {
            panic!("in the waker");
        }
    }
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let pool = pool(1, KEEP, start_thread);
    let (started, starts) = channel();
    let (mut work, go) = gated(pool, 1, &started);
    receive(&starts);
    assert!(poll(&mut work, &Waker::from(Arc::new(PanicsWhenWoken))).is_pending());
    // Queued behind the first, so it is surely dropped before it is done.
    drop(on(pool, || PanicsWhenDropped));
    go.send(()).unwrap();
    assert_eq!(await_here(on(pool, || 3)).unwrap(), 3);
    assert_eq!(await_here(work).unwrap(), 1);
    assert_eq!(lock(&pool.state).threads, 1);
}

#[test]
#[should_panic(expected = "polled after it had been taken")]
fn polling_after_the_end_is_a_mistake_that_is_named() {
    let pool = pool(1, KEEP, start_thread);
    let mut work = on(pool, || ());
    wait_until(pool, |state| state.idle == 1);
    assert!(poll(&mut work, Waker::noop()).is_ready());
    let _ = poll(&mut work, Waker::noop());
}
