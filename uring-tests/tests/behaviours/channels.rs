//! Channels and locks that know nothing of runtimes, between cores, foreign threads and helper threads.
//!
//! Each of them keeps wakers of tasks in its own way: in lists, in slots, one or many, and wakes from
//! whichever thread comes by.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use ringpark::{spawn_blocking, spawn_on};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Plain: "Z2" => a_tokio_mpsc_connects_cores_and_pushes_back,
    Plain: "Z2" => a_tokio_oneshot_answers_across_cores,
    Plain: "Z2" => a_tokio_notify_wakes_across_cores,
    Plain: "Z2" => a_tokio_semaphore_is_shared_by_cores,
    Plain: "Z2" => a_tokio_watch_is_seen_by_every_core,
    Plain: "Z2" => a_futures_mpsc_connects_cores_and_pushes_back,
    Plain: "Z2" => an_async_channel_has_consumers_on_every_core,
    Plain: "Z2" => a_flume_channel_mixes_tasks_and_threads,
];

/// The sum of 0, 1, ... `count` - 1.
fn sum(count: u64) -> u64 {
    count * (count - 1) / 2
}

/// A bounded channel of tokio's: the sender waits for room, the receiver for values.
fn a_tokio_mpsc_connects_cores_and_pushes_back(variant: &Variant) {
    let count = variant.scale(20_000);
    on_two_cores(variant, |other| async move {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
        let sending = spawn_on(&other, move || async move {
            for number in 0..count {
                sender.send(number).await.expect("somebody receives");
            }
        });
        for expected in 0..count {
            assert_eq!(receiver.recv().await, Some(expected), "in order, none twice");
        }
        assert_eq!(receiver.recv().await, None, "the sender has gone");
        sending.await.expect("no panic");
    });
}

/// Each request carries the place for its answer.
fn a_tokio_oneshot_answers_across_cores(variant: &Variant) {
    let count = variant.scale(5_000);
    on_two_cores(variant, |other| async move {
        type Question = (u64, tokio::sync::oneshot::Sender<u64>);
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<Question>();
        let answering = spawn_on(&other, move || async move {
            while let Some((number, answer)) = asked.recv().await {
                answer.send(number * 2).expect("the asker waits");
            }
        });
        for number in 0..count {
            let (answer, answered) = tokio::sync::oneshot::channel();
            ask.send((number, answer)).expect("somebody answers");
            assert_eq!(answered.await, Ok(number * 2));
        }
        drop(ask);
        answering.await.expect("no panic");
    });
}

/// A notify for one of the waiting, and one for all of them.
fn a_tokio_notify_wakes_across_cores(variant: &Variant) {
    use tokio::sync::Notify;
    let count = variant.scale(5_000);
    on_two_cores(variant, |other| async move {
        let bells: Arc<[Notify; 2]> = Arc::default();
        let echoing = spawn_on(&other, {
            let bells = bells.clone();
            move || async move {
                for _ in 0..count {
                    bells[0].notified().await;
                    bells[1].notify_one();
                }
            }
        });
        for _ in 0..count {
            bells[0].notify_one();
            bells[1].notified().await;
        }
        echoing.await.expect("no panic");

        let (gate, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (gate, waiting) = (gate.clone(), waiting.clone());
                spawn_on(&other, move || async move {
                    let mut opens = std::pin::pin!(gate.notified());
                    // From here on it is one of the waiting.
                    opens.as_mut().enable();
                    waiting.fetch_add(1, Ordering::Release);
                    opens.await;
                })
            })
            .collect();
        until("all wait", || waiting.load(Ordering::Acquire) == 50).await;
        gate.notify_waiters();
        for task in tasks {
            promptly("one of those at the gate", task).await.expect("no panic");
        }
    });
}

/// Three permits for sixteen tasks on two cores: never more are inside, and all get in.
fn a_tokio_semaphore_is_shared_by_cores(variant: &Variant) {
    let rounds = variant.scale(500);
    on_two_cores(variant, |other| async move {
        let permits = Arc::new(tokio::sync::Semaphore::new(3));
        let inside = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let here = ringpark::runtime::CoreHandle::current();
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (permits, inside) = (permits.clone(), inside.clone());
                let core = if number % 2 == 0 { &here } else { &other };
                spawn_on(core, move || async move {
                    for _ in 0..rounds {
                        let permit = permits.acquire().await.expect("it is open");
                        let count = inside[0].fetch_add(1, Ordering::AcqRel) + 1;
                        inside[1].fetch_max(count, Ordering::AcqRel);
                        ringpark::yield_now().await;
                        inside[0].fetch_sub(1, Ordering::AcqRel);
                        drop(permit);
                    }
                })
            })
            .collect();
        for task in tasks {
            promptly("a task that wants in", task).await.expect("no panic");
        }
        let most = inside[1].load(Ordering::Relaxed);
        assert!((1..=3).contains(&most), "{most} were inside");
        assert_eq!(permits.available_permits(), 3);
    });
}

/// The last value is seen by all who watch, on whichever core, and from a foreign thread.
fn a_tokio_watch_is_seen_by_every_core(variant: &Variant) {
    let count = variant.scale(5_000);
    on_two_cores(variant, |other| async move {
        let (say, said) = tokio::sync::watch::channel(0);
        let watch = move |mut said: tokio::sync::watch::Receiver<u64>| async move {
            while *said.borrow_and_update() < count {
                said.changed().await.expect("it is said to the end");
            }
        };
        let there = spawn_on(&other, {
            let said = said.clone();
            move || watch(said)
        });
        let here = ringpark::spawn(watch(said));
        let speaking = std::thread::spawn(move || {
            for number in 1..=count {
                say.send(number).expect("somebody watches");
            }
            say
        });
        promptly("the watcher there", there).await.expect("no panic");
        promptly("the watcher here", here).await.expect("no panic");
        drop(speaking.join().expect("no panic"));
    });
}

/// A bounded channel of the futures crate.
fn a_futures_mpsc_connects_cores_and_pushes_back(variant: &Variant) {
    let count = variant.scale(20_000);
    on_two_cores(variant, |other| async move {
        let (mut sender, mut receiver) = futures_channel::mpsc::channel(8);
        let sending = spawn_on(&other, move || async move {
            for number in 0..count {
                sender.send(number).await.expect("somebody receives");
            }
        });
        for expected in 0..count {
            assert_eq!(receiver.next().await, Some(expected), "in order, none twice");
        }
        assert_eq!(receiver.next().await, None, "the sender has gone");
        sending.await.expect("no panic");
    });
}

/// Many producers, consumers on both cores: each value comes to exactly one.
fn an_async_channel_has_consumers_on_every_core(variant: &Variant) {
    let each = variant.scale(5_000);
    on_two_cores(variant, |other| async move {
        let (sender, receiver) = async_channel::bounded(16);
        let here = ringpark::runtime::CoreHandle::current();
        let count = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let mut tasks = Vec::new();
        for number in 0..4 {
            let core = if number % 2 == 0 { &here } else { &other };
            let (sender, receiver, count) = (sender.clone(), receiver.clone(), count.clone());
            tasks.push(spawn_on(core, move || async move {
                for number in 0..each {
                    sender.send(number).await.expect("somebody receives");
                }
            }));
            tasks.push(spawn_on(core, move || async move {
                while let Ok(number) = receiver.recv().await {
                    count[0].fetch_add(1, Ordering::Relaxed);
                    count[1].fetch_add(number, Ordering::Relaxed);
                }
            }));
        }
        drop((sender, receiver));
        for task in tasks {
            promptly("a task at the channel", task).await.expect("no panic");
        }
        let [count, total] = count.each_ref().map(|value| value.load(Ordering::Relaxed));
        assert_eq!((count, total), (4 * each, 4 * sum(each)));
    });
}

/// A flume channel, from a helper thread that blocks to a task, and on to a thread that blocks.
fn a_flume_channel_mixes_tasks_and_threads(variant: &Variant) {
    let count = variant.scale(10_000);
    on_two_cores(variant, |other| async move {
        let (to_task, from_helper) = flume::bounded(4);
        let (to_thread, from_task) = flume::bounded(4);
        let helper = spawn_blocking(move || {
            for number in 0..count {
                to_task.send(number).expect("a task receives");
            }
        });
        let task = spawn_on(&other, move || async move {
            while let Ok(number) = from_helper.recv_async().await {
                to_thread.send_async(number).await.expect("a thread receives");
            }
        });
        let thread = std::thread::spawn(move || from_task.iter().sum::<u64>());
        promptly("the helper", helper).await.expect("no panic");
        promptly("the task between", task).await.expect("no panic");
        until("the thread has ended", || thread.is_finished()).await;
        assert_eq!(thread.join().expect("no panic"), sum(count));
    });
}
