//! Many cores, and foreign threads.

use std::io::{Error, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt;
use ringpark::net::TcpListener;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z7" => main_runs_once_on_every_core,
    Every: "Z6" => cores_share_a_port,
    Every: "Z6" => a_port_shared_by_cores_is_not_shared_with_strangers,
    Every: "Z8" => the_first_error_stops_the_other_cores,
    Every: "Z8" => a_panic_on_one_core_stops_the_others_and_goes_on_in_the_caller,
    Every: "Z8" => cores_end_with_operations_in_flight,
    Every: "Z2" => cores_talk_to_each_other,
    Every: "Z2" => wakes_from_foreign_threads_are_never_lost,
    Every: "Z2" => single_wakes_of_a_sleeping_core_are_never_lost,
    Once: "Z9" => cores_start_with_room_for_descriptors,
    Once: "Z9" => cores_can_be_pinned,
    Once: "Z9" => a_processor_that_does_not_exist_is_a_clear_error,
];

/// The same main, once on every core, each on its own thread.
fn main_runs_once_on_every_core(variant: &Variant) {
    let threads = Mutex::new(Vec::new());
    variant
        .builder()
        .cores(3)
        .thread_name("worker")
        .run(|| async {
            sleep(ms(1)).await;
            let (ours, other) = pair();
            send(&ours, b"ping").await;
            assert_eq!(receive(&other, 4).await, b"ping");
            assert_eq!(ringpark::runtime::metrics().backend, variant.backend());
            let thread = std::thread::current();
            let name = thread.name().expect("the threads have names").to_owned();
            threads.lock().expect("nobody panics").push((thread.id(), name));
            Ok(())
        })
        .expect("all end well");
    let threads = threads.into_inner().expect("nobody panics");
    assert_eq!(threads.len(), 3);
    let ids: std::collections::HashSet<_> = threads.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 3, "three threads");
    assert!(threads.iter().all(|(_, name)| name.starts_with("worker")), "{threads:?}");
}

/// A port outside of the range from which the kernel takes those of connections.
fn fixed_address() -> SocketAddr {
    loop {
        let address = SocketAddr::new(ANY.ip(), fastrand::u16(10_000..30_000));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Two cores listen on one port, and both serve.
fn cores_share_a_port(variant: &Variant) {
    let address = fixed_address();
    let clients = 200;
    let served: [AtomicUsize; 2] = Default::default();
    let next = AtomicUsize::new(0);
    let listening = Arc::new(AtomicUsize::new(0));
    let counted = listening.clone();
    let client = std::thread::spawn(move || {
        while counted.load(Ordering::Acquire) < 2 {
            std::thread::yield_now();
        }
        for _ in 0..clients {
            let mut stream = StdStream::connect(address).expect("somebody listens");
            stream.read_exact(&mut [0]).expect("it is served");
        }
    });
    let (next, served) = (&next, &served);
    variant
        .builder()
        .cores(2)
        .run(|| {
            let listening = listening.clone();
            async move {
                let core = next.fetch_add(1, Ordering::Relaxed);
                let listener = TcpListener::bind(address).await?;
                listening.fetch_add(1, Ordering::Release);
                let sum =
                    || served.iter().map(|count| count.load(Ordering::Acquire)).sum::<usize>();
                while sum() < clients {
                    listener.set_accept_deadline(Some(std::time::Instant::now() + ms(20)));
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            send(&stream, b"!").await;
                            served[core].fetch_add(1, Ordering::AcqRel);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
                Ok(())
            }
        })
        .expect("all end well");
    client.join().expect("all are served");
    let counts: Vec<_> = served.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(counts.iter().all(|&count| count > 0), "one core got all: {counts:?}");
}

/// A port that somebody else has is an error, also for several cores.
fn a_port_shared_by_cores_is_not_shared_with_strangers(variant: &Variant) {
    let stranger = std::net::TcpListener::bind(ANY).expect("a port on loopback");
    let address = stranger.local_addr().expect("it is bound");
    let ended = variant.builder().cores(2).run(|| async move {
        TcpListener::bind(address).await?;
        std::future::pending().await
    });
    assert_kind(ended, ErrorKind::AddrInUse);
}

/// The first error ends the other cores, whatever they wait for, and is the result.
fn the_first_error_stops_the_other_cores(variant: &Variant) {
    let turn = AtomicUsize::new(0);
    let turn = &turn;
    let ended = variant.builder().cores(3).run(|| async move {
        if turn.fetch_add(1, Ordering::Relaxed) == 1 {
            sleep(ms(5)).await;
            return Err(Error::other("on purpose"));
        }
        let (listener, _) = listener().await;
        let (ours, _plain) = half();
        ringpark::spawn(async move { drop(ours.recv().await) });
        drop(listener.accept().await);
        Ok(())
    });
    assert_eq!(ended.expect_err("one has failed").to_string(), "on purpose");
}

/// A panic does so too, and goes on where the cores were started.
fn a_panic_on_one_core_stops_the_others_and_goes_on_in_the_caller(variant: &Variant) {
    let turn = AtomicUsize::new(0);
    let turn = &turn;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        variant.builder().cores(2).run(|| async move {
            if turn.fetch_add(1, Ordering::Relaxed) == 1 {
                panic!("on purpose");
            }
            sleep(HOUR).await;
            Ok(())
        })
    }));
    let panic = ended.expect_err("one has panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
}

/// Cores that end with operations in flight leave no descriptor, which the harness checks.
fn cores_end_with_operations_in_flight(variant: &Variant) {
    variant
        .builder()
        .cores(2)
        .run(|| async {
            for _ in 0..20 {
                let (ours, plain) = half();
                ringpark::spawn(async move {
                    drop(ours.recv().await);
                    drop(plain);
                });
            }
            let (listener, _) = listener().await;
            ringpark::spawn(async move { drop(listener.accept().await) });
            sleep(ms(2)).await;
            Ok(())
        })
        .expect("all end well");
}

/// Cores send each other messages through channels that know nothing of runtimes.
fn cores_talk_to_each_other(variant: &Variant) {
    let rounds = variant.scale(10_000);
    let (to_second, from_first) = mpsc::unbounded::<u64>();
    let (to_first, from_second) = mpsc::unbounded::<u64>();
    let ends =
        Mutex::new(vec![Some((to_first, from_first, false)), Some((to_second, from_second, true))]);
    let ends = &ends;
    variant
        .builder()
        .cores(2)
        .run(|| async move {
            let end = ends.lock().expect("nobody panics").pop().expect("one for each core");
            let (sender, mut receiver, begins) = end.expect("taken once");
            if begins {
                sender.unbounded_send(0).expect("the other core listens");
            }
            while let Some(number) = receiver.next().await {
                if number < rounds {
                    sender.unbounded_send(number + 1).expect("the other core listens");
                } else {
                    break;
                }
            }
            Ok(())
        })
        .expect("all end well");
}

/// Many wakes from several foreign threads: none is lost, and each message comes once.
fn wakes_from_foreign_threads_are_never_lost(variant: &Variant) {
    let each = variant.scale(100_000) / 4;
    variant.run(async {
        let (sender, mut receiver) = mpsc::unbounded::<u64>();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for number in 0..each {
                        sender.unbounded_send(number).expect("the task receives");
                        if number % 64 == 0 {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        let (mut count, mut sum) = (0, 0);
        while let Some(number) = receiver.next().await {
            count += 1;
            sum += number;
        }
        assert_eq!((count, sum), (4 * each, 4 * each * (each - 1) / 2));
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

/// One wake at a time, each to a core that may be about to sleep: a lost one would hang.
fn single_wakes_of_a_sleeping_core_are_never_lost(variant: &Variant) {
    let rounds = variant.scale(20_000);
    variant.run(async {
        let (requests, answers) = std::sync::mpsc::channel::<oneshot::Sender<u64>>();
        let spins = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let spins = spins.clone();
            move || {
                let mut rng = fastrand::Rng::with_seed(7);
                let mut number = 0;
                while let Ok(sender) = answers.recv() {
                    // The core is somewhere on its way to sleep, each time somewhere else.
                    for _ in 0..rng.u32(0..2000) {
                        spins.fetch_add(1, Ordering::Relaxed);
                    }
                    sender.send(number).expect("the task waits");
                    number += 1;
                }
            }
        });
        for round in 0..rounds {
            let (sender, receiver) = oneshot::channel();
            requests.send(sender).expect("the thread answers");
            assert_eq!(receiver.await, Ok(round));
        }
        drop(requests);
        thread.join().expect("no panic");
    });
}

/// The kernel's table of descriptors has its size before there are threads, as it grows slowly then.
fn cores_start_with_room_for_descriptors(_: &Variant) {
    let wanted = sys::descriptor_limit().min(65_536);
    let before = sys::descriptors();
    let run = ringpark::Builder::new().cores(2).run(|| async move {
        let room = sys::room_for_descriptors();
        assert!(room >= wanted, "room for {room} descriptors of {wanted}");
        Ok(())
    });
    run.expect("both end well");
    assert_eq!(sys::descriptors(), before, "nothing but room");
}

/// Each core on a processor of its own.
fn cores_can_be_pinned(_: &Variant) {
    let masks = Mutex::new(Vec::new());
    let record = || async {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is there");
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"));
        let list = line.expect("the kernel tells it").split_whitespace().nth(1).expect("a list");
        masks.lock().expect("nobody panics").push(list.to_owned());
        Ok(())
    };
    ringpark::Builder::new().cores(1).pin(true).run(record).expect("it runs");
    let first = masks.lock().expect("nobody panics").pop().expect("one core");
    let cpu: usize = first.parse().expect("one processor only");
    ringpark::Builder::new().cpus([cpu, cpu]).run(record).expect("both run");
    let masks = masks.into_inner().expect("nobody panics");
    assert_eq!(masks, [first.clone(), first]);
}

/// A processor that is not there is an error that names it.
fn a_processor_that_does_not_exist_is_a_clear_error(_: &Variant) {
    let ended = ringpark::Builder::new().cpus([999_999]).run(|| async { Ok(()) });
    let said = ended.expect_err("there is none").to_string();
    assert!(said.contains("999999"), "{said}");
}
