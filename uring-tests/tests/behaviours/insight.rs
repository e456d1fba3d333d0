//! What can be seen of a core from outside, and which tasks it prefers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use ringpark::time::sleep;
use ringpark::{dump, CoreHandle, Priority, TaskBuilder, WaitsFor};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "" => counters_are_read_from_any_thread,
    Every: "" => a_dump_says_what_each_task_waits_for,
    Every: "" => a_dump_sees_every_core,
    Every: "" => a_task_that_computes_for_long_is_named,
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
        let (there, here) = (reader.join().expect("no panic"), ringpark::metrics());
        assert_eq!(there.backend, variant.backend());
        assert!(there.turns >= 10 && there.turns <= here.turns, "{there:?}");
        assert!(there.wakes >= 10 && there.on_processor_ns > 0, "{there:?}");
        assert!(there.uptime_ns >= 10_000_000, "{there:?}");
        core
    });
    let last = core.metrics().expect("what it was");
    assert!(core.is_over() && last.in_flight == 0, "{last:?}");
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

/// A task that computes for 100 ms is named in the log, with its place, and counted.
fn a_task_that_computes_for_long_is_named(variant: &Variant) {
    variant.run_on(variant.builder().stall_limit(ms(30)), async {
        let busy = TaskBuilder::new().name("the busy one").spawn(async {
            let end = Instant::now() + ms(100);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        });
        busy.await.expect("no panic");
        until("it is told", || log::text().contains("a task holds its core")).await;
        let told = log::text();
        assert!(told.contains("the busy one") && told.contains("insight.rs"), "{told}");
        assert_eq!(ringpark::metrics().stalls, 1);
    });
}

/// P3: seven urgent runs for each in the background, and neither is left out.
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
