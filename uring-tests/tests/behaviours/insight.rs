//! What can be seen of a core from outside, and which tasks it prefers.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::TcpStream as StdStream;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use ringpark::net::TcpStream;
use ringpark::runtime::{dump, CoreHandle, Priority, TaskBuilder, WaitsFor};
use ringpark::time::sleep;
use ringpark::Backend;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "I1" => counters_are_read_from_any_thread,
    Every: "I2" => a_dump_says_what_each_task_waits_for,
    Every: "I2" => a_dump_sees_every_core,
    Every: "I3" => a_task_that_computes_for_long_is_named,
    Every: "I2" => a_dump_of_thousands_of_connections_names_each,
    Every: "P3" => urgent_tasks_come_first_and_the_others_are_not_starved,
];

/// A thread that runs no core reads the counters of one that does.
fn counters_are_read_from_any_thread(variant: &Variant) {
    let core = variant.run(async {
        let core = CoreHandle::current();
        for _ in 0..10 {
            sleep(ms(1)).await;
        }
        let seen = core.clone();
        let reader = std::thread::spawn(move || seen.metrics().expect("it has turned"));
        until("the thread has read", || reader.is_finished()).await;
        let (there, here) = (reader.join().expect("no panic"), ringpark::runtime::metrics());
        assert_eq!(there.backend, variant.backend());
        assert!(there.turns >= 10 && there.turns <= here.turns, "{there:?}");
        assert!(there.wakes >= 10 && there.on_processor_ns > 0, "{there:?}");
        assert!(there.uptime_ns >= 10_000_000, "{there:?}");
        core
    });
    let last = core.metrics().expect("what it was");
    assert!(core.is_closed() && last.in_flight == 0, "{last:?}");
}

/// Each task, with its name, what it waits for, and since when.
fn a_dump_says_what_each_task_waits_for(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        let named = |name: &str| TaskBuilder::new().name(name);
        let reader = named("reader").spawn(async move { drop(ours.recv().await) });
        let sleeper = named("sleeper").spawn(sleep(HOUR));
        let lost = named("lost").spawn(std::future::pending::<()>());
        sleep(ms(30)).await;
        let tasks = dump().await;
        let find = |name: &str| {
            let found = tasks.iter().find(|task| task.name.as_deref() == Some(name));
            found.unwrap_or_else(|| panic!("no {name}: {tasks:?}"))
        };
        assert!(
            matches!(find("reader").waits[..], [WaitsFor::Operation { fd: at, .. }] if at == fd),
            "{}",
            find("reader")
        );
        assert_eq!(find("sleeper").waits, [WaitsFor::Timer]);
        assert!(find("sleeper").since >= ms(10), "{}", find("sleeper"));
        assert_eq!(find("lost").waits, [WaitsFor::SomethingElse]);
        assert!(find("lost").location.file().ends_with("insight.rs"));
        assert_eq!(tasks.len(), 4, "the main future too: {tasks:?}");
        let main = find("main");
        assert!(main.location.file().ends_with("variant.rs"), "where it was started: {main}");
        for task in [sleeper, lost] {
            task.abort();
        }
        reader.abort();
    });
}

/// The tasks of other cores are seen too.
fn a_dump_sees_every_core(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let there = TaskBuilder::new().name("there").spawn_on(&other, || sleep(HOUR));
        sleep(ms(5)).await;
        let tasks = promptly("the dump", dump()).await;
        let found = tasks.iter().find(|task| task.name.as_deref() == Some("there"));
        assert_eq!(found.expect("it is there").core, other.id());
        there.abort();
    });
}

/// Computes for so long; a function with a name of its own, which is to be found in a backtrace.
#[inline(never)]
fn compute_for_long(time: std::time::Duration) -> u64 {
    let (end, mut spun) = (Instant::now() + time, 0);
    while Instant::now() < end {
        spun = std::hint::black_box(spun + 1);
    }
    spun
}

/// A task that computes for 100 ms is named in the log, with its place and the functions that it is
/// in, and counted.
fn a_task_that_computes_for_long_is_named(variant: &Variant) {
    variant.run_on(variant.builder().stall_limit(ms(30)), async {
        let busy = TaskBuilder::new().name("the busy one").spawn(async {
            assert!(compute_for_long(ms(100)) > 0);
        });
        busy.await.expect("no panic");
        until("it is told", || log::text().contains("a task holds its core")).await;
        let told = log::text();
        assert!(told.contains("the busy one") && told.contains("insight.rs"), "{told}");
        assert!(told.contains("compute_for_long"), "the backtrace: {told}");
        assert_eq!(ringpark::runtime::metrics().stalls, 1);
    });
}

/// Thousands of connections that wait, each in a task of its own, are all in the dump, with their
/// descriptors. (How long ten thousand take is measured by `cargo bench --bench insight`.)
fn a_dump_of_thousands_of_connections_names_each(variant: &Variant) {
    // select(2) takes no more descriptors.
    let most = if variant.backend() == Backend::Select { 900 } else { 3_000 };
    let count = affordable(variant.scale(10_000).min(most), 1) as usize;
    variant.run(async {
        // Nobody accepts them: the kernel's queue is long enough, and takes no descriptors.
        let (listener, address) = closed_port();
        listener.listen(4096).expect("the socket can listen");
        let connect = || StdStream::connect(address).expect("the queue has room");
        let streams: Vec<_> = (0..count)
            .map(|_| TcpStream::from_std(connect()).expect("a stream can join"))
            .collect();
        let fds: BTreeSet<i32> = streams.iter().map(AsRawFd::as_raw_fd).collect();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| ringpark::spawn(async move { drop(stream.recv().await) }))
            .collect();
        sleep(ms(20)).await;
        until("all wait", || ringpark::runtime::metrics().ready == 0).await;
        let dumped = promptly("the dump", dump()).await;
        assert_eq!(dumped.len(), count + 1, "the main future too");
        let waiting: BTreeSet<i32> = dumped
            .iter()
            .flat_map(|task| &task.waits)
            .filter_map(|wait| match wait {
                WaitsFor::Operation { fd, .. } => Some(*fd),
                _ => None,
            })
            .collect();
        assert_eq!(waiting, fds);
        for task in tasks {
            task.abort();
        }
    });
}

/// Seven urgent runs for each in the background, and neither is left out.
fn urgent_tasks_come_first_and_the_others_are_not_starved(variant: &Variant) {
    variant.run(async {
        let counts = [Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(0_u32))];
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let background = number % 2 == 1;
                let count = counts[usize::from(background)].clone();
                let priority = if background { Priority::Background } else { Priority::Latency };
                TaskBuilder::new().priority(priority).spawn(async move {
                    loop {
                        count.set(count.get() + 1);
                        ringpark::yield_now().await;
                    }
                })
            })
            .collect();
        // A timer fires although they keep the core busy.
        sleep(ms(30)).await;
        let [urgent, background] = counts.each_ref().map(|count| count.get());
        for task in tasks {
            task.abort();
        }
        assert!(background > 0, "starved");
        let ratio = f64::from(urgent) / f64::from(background);
        assert!((6.0..8.5).contains(&ratio), "{urgent} to {background}");
    });
}
