//! Waiting for time to pass: [`sleep`], [`interval`], and [`timeout`] for any future; and [`now`], the
//! time that they go by.
//!
//! Timers belong to the core that the task runs on. They have a resolution of a quarter of a
//! millisecond and fire at the first multiple of it that is not before the deadline: **never
//! early**, and on a core that is not overloaded well below a millisecond late. From 32 ms on they
//! are late by 1/64 of the time at most, and by no more than 2 ms, so that deadlines which lie close
//! together wake their core once. (On epoll before Linux 5.11, which waits in milliseconds, all are
//! up to one later.) Arming and disarming costs some ten nanoseconds and no system call: the
//! nearest timer of a core becomes the time-out of its next wait.
//!
//! ```
//! use ringpark::time::{sleep, timeout};
//! use std::time::Duration;
//!
//! ringpark::block_on(async {
//!     let slow = async {
//!         sleep(Duration::from_secs(3600)).await;
//!         "done"
//!     };
//!     assert!(timeout(Duration::from_millis(5), slow).await.is_err());
//! });
//! ```

mod interval;
mod now;
mod sleep;
mod timeout;

pub use interval::{interval, interval_at, Interval, MissedTickBehavior};
pub use now::now;
pub use sleep::{sleep, sleep_until, Sleep};
pub use timeout::{timeout, timeout_at, Elapsed, Timeout};
