//! Signals, graceful ends, forks, and what a service manager hands in.

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use ringpark::net::TcpListener;
use ringpark::shutdown::{Shutdown, Stage};
use ringpark::signal::{ctrl_c, signal, SignalKind};
use ringpark::spawn_on;
use ringpark::time::{sleep, timeout};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "Z10" => a_signal_wakes_those_who_wait_on_every_core,
    Every: "Z10" => a_signal_that_comes_between_two_waits_is_not_lost,
    Once: "Z10" => the_former_effect_of_a_signal_comes_back,
    Once: "Z10" => a_handler_that_was_installed_later_stays,
    Once: "Z10" => a_signal_that_cannot_be_caught_is_a_clear_error,
    Every: "Z5" => connections_finish_within_the_grace_period,
    Every: "Z5" => what_has_not_finished_is_cut_and_reported,
    Every: "Z5" => a_second_wish_cuts_at_once,
    Every: "Z5" => cores_end_together,
    Every: "Z6" => a_listener_that_is_handed_in_is_served_by_all_cores,
    Every: "Y6" => a_forked_child_neither_corrupts_nor_uses_the_ring,
];

/// Every listener of a signal is told, on whatever core it waits.
fn a_signal_wakes_those_who_wait_on_every_core(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let mut here = signal(SignalKind::user_defined2()).expect("it can be caught");
        let there = spawn_on(&other, || async {
            let mut there = signal(SignalKind::user_defined2()).expect("it can be caught");
            let interrupted = ctrl_c();
            let mut interrupted = pin!(interrupted);
            start(interrupted.as_mut()).await;
            there.recv().await;
            sys::raise(libc::SIGINT);
            interrupted.await.expect("it can be caught");
        });
        // Both must have caught it first, or it would end the process.
        until("the other core waits", || ringpark::runtime::cores()[1].load().tasks > 0).await;
        sleep(ms(5)).await;
        sys::raise(libc::SIGUSR2);
        promptly("the signal", here.recv()).await;
        promptly("the other core", there).await.expect("no panic");
    });
}

/// One that comes while nobody waits is told at the next wait, once.
fn a_signal_that_comes_between_two_waits_is_not_lost(variant: &Variant) {
    variant.run(async {
        let mut hangup = signal(SignalKind::hangup()).expect("it can be caught");
        for _ in 0..20 {
            sys::raise(libc::SIGHUP);
            promptly("a signal", hangup.recv()).await;
        }
        sys::raise(libc::SIGHUP);
        {
            let waited = pin!(hangup.recv());
            let _either = poll_once(waited).await;
        }
        // It was taken by that, or is there for the next.
        let _or_this = timeout(ms(20), hangup.recv()).await;
        assert!(timeout(ms(2), hangup.recv()).await.is_err(), "one too many");
    });
}

/// With the last listener the signal does again what it did: here, nothing; and a handler that was
/// there before has been called all along.
fn the_former_effect_of_a_signal_comes_back(_: &Variant) {
    static FORMER: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn former(_signal: libc::c_int) {
        FORMER.fetch_add(1, Ordering::SeqCst);
    }
    sys::handle(libc::SIGUSR1, former);
    ringpark::block_on(async {
        let mut one = signal(SignalKind::user_defined1()).expect("it can be caught");
        let other = signal(SignalKind::user_defined1()).expect("it can be caught");
        sys::raise(libc::SIGUSR1);
        promptly("a signal", one.recv()).await;
        drop(other);
        sys::raise(libc::SIGUSR1);
        promptly("a signal", one.recv()).await;
    });
    sys::raise(libc::SIGUSR1);
    assert_eq!(FORMER.load(Ordering::SeqCst), 3);
}

/// With the last listener nothing comes back over a handler that somebody else has installed since;
/// and one that is listened over again is called once for each signal, though it calls back.
fn a_handler_that_was_installed_later_stays(_: &Variant) {
    let calls = || sys::CALLS_OVER.load(Ordering::SeqCst);
    ringpark::block_on(async {
        let mut one = signal(SignalKind::user_defined1()).expect("it can be caught");
        sys::handle_over(libc::SIGUSR1);
        sys::raise(libc::SIGUSR1);
        promptly("a signal", one.recv()).await;
        assert_eq!(calls(), 1);
        drop(one);
        sys::raise(libc::SIGUSR1);
        assert_eq!(calls(), 2);
        let mut again = signal(SignalKind::user_defined1()).expect("it can be caught");
        assert!(timeout(ms(20), again.recv()).await.is_err(), "one from before");
        sys::raise(libc::SIGUSR1);
        promptly("a signal", again.recv()).await;
        assert_eq!(calls(), 3);
    });
    sys::raise(libc::SIGUSR1);
    assert_eq!(calls(), 4);
}

/// What nobody can catch is refused with its number.
fn a_signal_that_cannot_be_caught_is_a_clear_error(_: &Variant) {
    for number in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, 0, -1, 1000] {
        let error = signal(SignalKind::from_raw(number)).expect_err("it cannot");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&number.to_string()), "{error}");
    }
}

/// A server of one core: clients that are served `time` each, until it is stopped.
async fn serve(shutdown: Shutdown, listener: TcpListener, time: std::time::Duration) {
    while let Some(accepted) = shutdown.run_until(Stage::Stopping, listener.accept()).await {
        let (stream, _) = accepted.expect("it listens");
        shutdown.spawn(async move {
            sleep(time).await;
            send(&stream, b"done").await;
        });
    }
    listener.close().await.expect("it is open");
}

/// Nobody is accepted any more, and who is connected is served to the end.
fn connections_finish_within_the_grace_period(variant: &Variant) {
    variant.run(async {
        let shutdown = Shutdown::new();
        let (listener, address) = listener().await;
        let server = ringpark::spawn(serve(shutdown.clone(), listener, ms(30)));
        let mut clients: Vec<_> =
            (0..5).map(|_| StdStream::connect(address).expect("somebody listens")).collect();
        until("all are served", || shutdown.open_count() == 5).await;
        let report = promptly("the end", shutdown.finish(Some(HOUR))).await;
        assert_eq!((report.open, report.cut, report.left), (5, 0, 0), "{report}");
        server.await.expect("no panic");
        assert!(StdStream::connect(address).is_err(), "it is closed");
        for client in &mut clients {
            client.read_exact(&mut [0; 4]).expect("it was served");
        }
    });
}

/// When the grace period is over the rest is cut, closed and counted.
fn what_has_not_finished_is_cut_and_reported(variant: &Variant) {
    variant.run(async {
        let shutdown = Shutdown::new();
        let (listener, address) = listener().await;
        let server = ringpark::spawn(serve(shutdown.clone(), listener, HOUR));
        let mut clients: Vec<_> =
            (0..5).map(|_| StdStream::connect(address).expect("somebody listens")).collect();
        until("all are served", || shutdown.open_count() == 5).await;
        let start = Instant::now();
        let report = promptly("the end", shutdown.finish(Some(ms(20)))).await;
        assert!(start.elapsed() >= ms(20), "the grace period is theirs");
        assert_eq!((report.open, report.cut, report.left), (5, 5, 0), "{report}");
        server.await.expect("no panic");
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
        }
    });
}

/// Without a limit to the grace period, a cut from elsewhere ends it.
fn a_second_wish_cuts_at_once(variant: &Variant) {
    on_two_cores(variant, |other| async move {
        let shutdown = Shutdown::new();
        let guard = shutdown.clone();
        let cut = spawn_on(&other, {
            let shutdown = shutdown.clone();
            move || async move {
                shutdown.run_until(Stage::Stopping, std::future::pending::<()>()).await;
                sleep(ms(5)).await;
                shutdown.cut()
            }
        });
        let task = guard.spawn(std::future::pending::<()>());
        let report = promptly("the end", shutdown.finish(None)).await;
        assert_eq!((report.open, report.cut, report.left), (1, 1, 0), "{report}");
        assert!(cut.await.expect("no panic"), "it was the one who cut");
        assert_eq!(task.await.expect("no panic"), None);
    });
}

/// What one core still serves, the others wait for.
fn cores_end_together(variant: &Variant) {
    let shutdown = Shutdown::new();
    let ended = Arc::new(AtomicUsize::new(0));
    on_two_cores(variant, |other| {
        let (shutdown, ended) = (shutdown.clone(), ended.clone());
        async move {
            let there = spawn_on(&other, {
                let (shutdown, ended) = (shutdown.clone(), ended.clone());
                move || async move {
                    shutdown.spawn(async move {
                        sleep(ms(30)).await;
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
            there.await.expect("no panic");
            promptly("the end", shutdown.finish(Some(HOUR))).await;
            assert_eq!(ended.load(Ordering::SeqCst), 1);
        }
    });
}

/// A socket that listens already, as a service manager hands it in, is one that every core can
/// accept from.
fn a_listener_that_is_handed_in_is_served_by_all_cores(variant: &Variant) {
    let socket = std::net::TcpListener::bind(ANY).expect("a port on loopback");
    let address = socket.local_addr().expect("it is bound");
    on_two_cores(variant, |other| {
        let sockets = [(); 2].map(|()| socket.try_clone().expect("a descriptor"));
        async move {
            let [here, there] = sockets;
            let shutdown = Shutdown::new();
            let serve_one = |socket, shutdown: Shutdown| {
                move || async move {
                    let listener = TcpListener::from_std(socket).expect("it can join");
                    serve(shutdown, listener, ms(0)).await;
                }
            };
            let there = spawn_on(&other, serve_one(there, shutdown.clone()));
            let here = ringpark::spawn(serve_one(here, shutdown.clone())());
            let clients = std::thread::spawn(move || {
                for _ in 0..20 {
                    let mut client = StdStream::connect(address).expect("somebody listens");
                    client.read_exact(&mut [0; 4]).expect("it is served");
                }
            });
            until("all are served", || clients.is_finished()).await;
            clients.join().expect("all are served");
            shutdown.finish(Some(HOUR)).await;
            here.await.expect("no panic");
            there.await.expect("no panic");
        }
    });
    // The socket still listens, for whoever holds it.
    drop(StdStream::connect(address).expect("it listens on"));
    drop(socket);
}

/// After a fork the child's operations fail with a sentence, nothing of its end reaches the
/// parent's ring, and the parent goes on.
fn a_forked_child_neither_corrupts_nor_uses_the_ring(variant: &Variant) {
    variant.run(async {
        let (ours, mut plain) = half();
        let (waiting, mut peer) = half();
        // Something is under way meanwhile.
        let reader = ringpark::spawn(async move { receive(&waiting, 5).await });
        sleep(ms(2)).await;
        for round in 0..3 {
            let mut write = pin!(ours.write_all("from the parent"));
            let status = sys::fork_and_wait(|| {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let Poll::Ready((result, _)) = write.as_mut().poll(&mut cx) else { return false };
                let said = result.expect_err("it is not the child's").to_string();
                let recv = pin!(ours.recv());
                let refused = matches!(recv.poll(&mut cx), Poll::Ready(Err(_)));
                said.contains("fork") && refused && ringpark::runtime::metrics().turns > 0
            });
            assert_eq!(status, 0, "round {round}: the child ended with {status:#x}");
            write.await.0.expect("the parent can write");
            let mut heard = [0; 15];
            plain.read_exact(&mut heard).expect("the parent wrote");
            assert_eq!(&heard, b"from the parent");
        }
        peer.write_all(b"still").expect("room");
        assert_eq!(promptly("the reader", reader).await.expect("no panic"), b"still");
        assert_eq!(ringpark::runtime::metrics().stale, 0);
    });
}
