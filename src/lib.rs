//! ringpark is a runtime for network programs that move many bytes over many connections: proxies,
//! gateways, brokers. Code reads as if it blocked; a task that cannot go on is parked, and its core
//! goes on with another.
//!
//! Each core has its own executor and its own io_uring: reads, writes and accepts are submitted to
//! the ring, and the completion entry resumes the parked task. Where io_uring is missing or
//! forbidden the same binary runs on epoll, and on poll(2) as the last resort; on the BSDs and macOS
//! on kqueue.
//!
//! ```text
//!    your async fn
//!         │ await
//!    net fs io process    owned buffers, leases, deadlines, relay
//!         │
//!    handle               the engine of each of them: permits, the receive queue, closing
//!         │
//!    runtime              tasks, the turn loop, cores, wakes from other threads
//!         │
//!    driver               where an operation runs; operations in flight, cancellation
//!      ├─ uring           ring, set-up ladder, buffer ring
//!      └─ ready           one readiness engine over epoll, kqueue, poll or select
//!         │
//!    op                   one file per kernel operation: its ring form, its system call
//! ```
//!
//! # A relay
//!
//! ```no_run
//! use std::time::Duration;
//! use ringpark::net::{TcpListener, TcpStream};
//!
//! fn main() -> std::io::Result<()> {
//!     ringpark::Builder::new().run(|| async { // once on every core, on a shared port
//!         let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!         loop {
//!             let (client, _peer) = listener.accept().await?;
//!             ringpark::spawn(async move {
//!                 let server = TcpStream::connect("10.0.0.7:80").await?;
//!                 let idle = Duration::from_secs(60);
//!                 ringpark::io::relay(&client, &server).idle_timeout(idle).await?;
//!                 std::io::Result::Ok(())
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! # What dropping a future does
//!
//! Nothing is lost. Bytes that arrive for a read whose future was dropped are given to the next read
//! of that stream, in order; a connection that an abandoned accept has got, to the next accept. So
//! `timeout(read)` and `select!` are safe. A buffer that the kernel still uses stays allocated until
//! the kernel has answered.
//!
//! # Where it runs
//!
//! | system | backend | what it takes |
//! | --- | --- | --- |
//! | Linux 6.1 and newer | io_uring | permission: many containers forbid it |
//! | Linux 5.11 to 6.0 | epoll; io_uring if forced | |
//! | any Linux | epoll | nothing |
//! | FreeBSD, macOS, OpenBSD, NetBSD | kqueue | checked from Linux only: see the README |
//! | all of these | poll, select | nothing; only when they are forced, or nothing better works |
//!
//! `RINGPARK_BACKEND=uring|epoll|kqueue|poll|select` forces a backend, and a line logged through [`tracing`] says
//! which one a core runs on and why.
//!
//! # Features
//!
//! None is needed. `backtrace` says what a task is at that holds its core for too long
//! ([`Builder::stall_limit`]); `serde` gives the probe's report the traits of that crate.

#![cfg_attr(docsrs, feature(doc_cfg))]
// What only a ring uses is of no use where there are no rings; that nothing is left over is checked on
// Linux, but for the tests of kqueue there.
#![cfg_attr(any(not(target_os = "linux"), ringpark_kqueue), allow(dead_code, unused_imports))]

pub mod buf;
mod cause;
mod completion;
mod driver;
pub mod fs;
mod handle;
pub mod io;
pub mod net;
mod op;
pub mod probe;
pub mod process;
pub mod runtime;
pub mod shutdown;
pub mod signal;
mod sync;
mod sys;
pub mod time;
mod timer;

pub use io::Closed;
pub use runtime::{
    block_on, spawn, spawn_anywhere, spawn_blocking, spawn_on, yield_now, Backend, Builder,
    JoinError, JoinHandle,
};
pub use time::Elapsed;
