//! Idleness: what has nothing to do neither works nor looks whether there is work.
//!
//! ```text
//!   RINGPARK_TESTS_IDLE=10 cargo test -p ringpark-tests an_idle_runtime      for so many seconds
//! ```

use std::pin::pin;
use std::sync::{mpsc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use ringpark::net::TcpStream;
use ringpark::runtime::{cores, CoreHandle};
use ringpark::spawn_on;
use ringpark::time::sleep;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "P6" => an_idle_core_uses_no_processor_time,
    Every: "P6" => an_idle_runtime_of_four_cores_does_not_wake_up,
    Faultless: "P6" => a_busy_spin_ends_when_nothing_happens,
];

/// For how many seconds a runtime is watched that is idle, if not for the usual time.
const ENV_IDLE: &str = "RINGPARK_TESTS_IDLE";

/// How long it is watched, as the environment says.
fn watched() -> Duration {
    let Ok(text) = std::env::var(ENV_IDLE) else { return ms(300) };
    let seconds = text.parse().unwrap_or_else(|_| panic!("{ENV_IDLE}={text} is not a number"));
    Duration::from_secs(seconds)
}

/// An idle core uses no processor time to speak of.
fn an_idle_core_uses_no_processor_time(variant: &Variant) {
    variant.run(async {
        let (ours, _plain) = half();
        let (listener, _) = listener().await;
        let mut recv = pin!(ours.recv());
        start(recv.as_mut()).await;
        let mut accept = pin!(listener.accept());
        start(accept.as_mut()).await;
        sleep(ms(20)).await;
        let (used, turns) = (sys::thread_cpu_time(), ringpark::runtime::metrics().turns);
        sleep(ms(300)).await;
        let (used, turns) =
            (sys::thread_cpu_time() - used, ringpark::runtime::metrics().turns - turns);
        assert!(used < ms(30), "{used:?} of processor time in 300 ms of nothing");
        assert!(turns < 30 || variant.has_faults(), "{turns} turns in 300 ms of nothing");
    });
}

/// Cores of a runtime that is idle.
const CORES: usize = 4;

/// When traffic has ended, cores with listeners, connections and timers that wait make no turn, and
/// their threads are on no processor.
fn an_idle_runtime_of_four_cores_does_not_wake_up(variant: &Variant) {
    let (finish, finished): (Vec<_>, Vec<_>) = (0..CORES).map(|_| oneshot::channel::<()>()).unzip();
    let (quiet, quieted) = mpsc::channel();
    // The cores end when this thread does, which drops what they wait for.
    let watcher = std::thread::spawn(move || {
        let _finish = finish;
        let cores: Vec<CoreHandle> = quieted.iter().take(CORES).collect();
        let before = at_rest(&cores);
        std::thread::sleep(watched());
        (before, look(&cores))
    });
    let finished = Mutex::new(finished);
    let ran = variant.builder().cores(CORES).run(|| async {
        let finished = finished.lock().expect("nobody panics").pop().expect("one for each core");
        let waiting = carry_traffic(variant).await;
        quiet.send(CoreHandle::current()).expect("it is waited for");
        finished.await.expect_err("nothing is sent");
        drop(waiting);
        Ok(())
    });
    ran.expect("all end well");
    let (before, after) = watcher.join().expect("all cores come to rest");
    assert_eq!(before, after, "turns and nanoseconds on a processor, core by core");
}

/// Has traffic within this core and to its neighbours; then leaves what an idle server has: a
/// connection that is read from, a listener that accepts, and a timer.
async fn carry_traffic(variant: &Variant) -> impl Sized {
    let (listener, address) = listener().await;
    let echo = ringpark::spawn(async move {
        loop {
            let stream = listener.accept_stream().await.expect("one comes");
            drop(ringpark::spawn(async move {
                while let Some(lease) = stream.recv().await.expect("bytes, or the end") {
                    stream.write_all(lease).await.0.expect("it reads");
                }
            }));
        }
    });
    for _ in 0..4 {
        let stream = TcpStream::connect(address).await.expect("it listens");
        for _ in 0..variant.scale(200).max(20) {
            send(&stream, b"ping").await;
            assert_eq!(promptly("an echo", receive(&stream, 4)).await, b"ping");
        }
        stream.close().await.expect("the first close");
    }
    for other in cores() {
        let ping = spawn_on(&other, || async { 7 });
        assert_eq!(promptly("an answer", ping).await.expect("no panic"), 7);
    }
    let stream = TcpStream::connect(address).await.expect("it listens");
    let reader = ringpark::spawn(async move { drop(stream.recv().await) });
    (echo, reader, ringpark::spawn(sleep(HOUR)))
}

/// What each core has done, without disturbing it: its turns, and the time on a processor.
fn look(cores: &[CoreHandle]) -> Vec<(u64, u64)> {
    let one = |core: &CoreHandle| {
        let metrics = core.metrics().expect("it has turned");
        (metrics.turns, metrics.on_processor_ns)
    };
    cores.iter().map(one).collect()
}

/// The same once nothing has happened for a while: longer than a core waits before it looks
/// whether anything can ever wake it.
fn at_rest(cores: &[CoreHandle]) -> Vec<(u64, u64)> {
    let mut before = look(cores);
    for _ in 0..100 {
        std::thread::sleep(ms(150));
        let after = look(cores);
        if before == after {
            return after;
        }
        before = after;
    }
    panic!("the cores do not come to rest: {before:?}");
}

/// Busy-polling before sleep is bounded: with nothing to do the core does sleep.
fn a_busy_spin_ends_when_nothing_happens(variant: &Variant) {
    variant.run_on(variant.builder().spin(ms(1)), async {
        let (ours, other) = pair();
        for _ in 0..100 {
            send(&ours, b"ping").await;
            receive(&other, 4).await;
        }
        let used = sys::thread_cpu_time();
        let mut recv = pin!(ours.recv());
        start(recv.as_mut()).await;
        sleep(ms(300)).await;
        let used = sys::thread_cpu_time() - used;
        assert!(used < ms(60), "{used:?} of processor time in 300 ms of nothing");
    });
}
