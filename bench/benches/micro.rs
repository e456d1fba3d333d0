//! The parts of a runtime by themselves, ringpark beside tokio: timers, tasks, wakes, and a round
//! trip through a local echo. No figure here is a server's; the comparison harness has those.

use std::future::{poll_fn, Future};
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use ringpark::{Backend, Builder};
use ringpark_bench::options::OURS;

/// A runtime that can time a future on its own thread.
#[derive(Clone, Copy)]
enum Runtime {
    Ringpark(Backend),
    Tokio,
}

const RUNTIMES: [(&str, Runtime); 3] = [
    ("ringpark-uring", Runtime::Ringpark(Backend::Uring)),
    ("ringpark-epoll", Runtime::Ringpark(Backend::Epoll)),
    ("tokio", Runtime::Tokio),
];

impl Runtime {
    fn block_on<T: 'static>(self, future: impl Future<Output = T> + 'static) -> T {
        match self {
            Self::Ringpark(backend) => {
                let core = Builder::new().backend(backend);
                core.block_on(future).expect("a core on this backend")
            }
            Self::Tokio => {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                let runtime = builder.enable_all().build().expect("a tokio runtime");
                // A local set: what is spawned need not be Send there either.
                tokio::task::LocalSet::new().block_on(&runtime, future)
            }
        }
    }
}

fn main() {
    if std::env::args().any(|argument| OURS.iter().any(|ours| argument.starts_with(ours))) {
        println!("the options are for the comparison: no part is measured by itself");
        return;
    }
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20)
        .configure_from_args();
    timers(&mut criterion);
    tasks(&mut criterion);
    yields(&mut criterion);
    round_trips(&mut criterion);
    criterion.final_summary();
}

/// Arm a timer and cancel it.
fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer arm and cancel");
    for (name, runtime) in RUNTIMES {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| match runtime {
                Runtime::Ringpark(_) => runtime.block_on(armed(count, ringpark::time::sleep)),
                // A task that has had its share polls a timer in vain, which then is not armed.
                Runtime::Tokio => {
                    runtime.block_on(tokio::task::unconstrained(armed(count, tokio::time::sleep)))
                }
            });
        });
    }
    group.finish();
}

async fn armed<S: Future<Output = ()>>(count: u64, sleep: impl Fn(Duration) -> S) -> Duration {
    let begin = Instant::now();
    for number in 0..count {
        let mut timer = pin!(sleep(Duration::from_secs(10 + number % 50)));
        // Polled once, which arms it, and dropped, which cancels it.
        let unfired = poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_pending()));
        assert!(unfired.await, "a timer fired seconds too early");
    }
    begin.elapsed()
}

/// Spawn a task and wait for what it returns.
fn tasks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn and join");
    for (name, runtime) in RUNTIMES {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async move {
                    let begin = Instant::now();
                    for number in 0..count {
                        let task = async move { black_box(number) };
                        let returned = match runtime {
                            Runtime::Ringpark(_) => ringpark::spawn(task).await.ok(),
                            Runtime::Tokio => tokio::task::spawn_local(task).await.ok(),
                        };
                        assert_eq!(returned, Some(number));
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// Two tasks that let each other run: a wake and a turn of the run queue each time.
fn yields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("yield");
    for (name, runtime) in RUNTIMES {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async move {
                    let begin = Instant::now();
                    match runtime {
                        Runtime::Ringpark(_) => {
                            let other = ringpark::spawn(yield_ringpark(count / 2));
                            yield_ringpark(count - count / 2).await;
                            other.await.expect("the other task");
                        }
                        Runtime::Tokio => {
                            let other = tokio::task::spawn_local(yield_tokio(count / 2));
                            yield_tokio(count - count / 2).await;
                            other.await.expect("the other task");
                        }
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

async fn yield_ringpark(count: u64) {
    for _ in 0..count {
        ringpark::yield_now().await;
    }
}

async fn yield_tokio(count: u64) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// 64 bytes to an echo on the same core and back: for ringpark each way is a lease taken from the
/// core's pool and returned to it.
fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo on the same core");
    for (name, runtime) in RUNTIMES {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| match runtime {
                Runtime::Ringpark(_) => runtime.block_on(round_trips_ringpark(count)),
                Runtime::Tokio => runtime.block_on(round_trips_tokio(count)),
            });
        });
    }
    group.finish();
}

async fn round_trips_ringpark(count: u64) -> Duration {
    use ringpark::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let echo = ringpark::spawn(async move {
        let stream = listener.accept_stream().await.expect("a connection");
        while let Some(lease) = stream.recv().await.expect("bytes or the end") {
            stream.write_all(lease).await.0.expect("an echo");
        }
    });
    let stream = TcpStream::connect(address).await.expect("a connection");
    let begin = Instant::now();
    for _ in 0..count {
        stream.write_all(&[7_u8; 64][..]).await.0.expect("a message");
        let mut received = 0;
        while received < 64 {
            let lease = stream.recv().await.expect("an answer").expect("before the end");
            received += black_box(&lease).len();
        }
    }
    let elapsed = begin.elapsed();
    stream.close().await.expect("a close");
    echo.await.expect("the echo's end");
    elapsed
}

async fn round_trips_tokio(count: u64) -> Duration {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let echo = tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = stream.read(&mut buffer).await.expect("bytes or the end");
            if count == 0 {
                return;
            }
            stream.write_all(&buffer[..count]).await.expect("an echo");
        }
    });
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut buffer = vec![0; 16 * 1024];
    let begin = Instant::now();
    for _ in 0..count {
        stream.write_all(&[7; 64]).await.expect("a message");
        let mut received = 0;
        while received < 64 {
            let count = stream.read(&mut buffer).await.expect("an answer");
            assert!(count > 0, "the echo ended");
            received += count;
        }
        black_box(&buffer);
    }
    let elapsed = begin.elapsed();
    drop(stream);
    echo.await.expect("the echo's end");
    elapsed
}
