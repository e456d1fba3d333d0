//! The time by the runtime's clock.

use std::time::Instant;

use crate::timer::clock;

/// The time now, by the clock that all timers and deadlines go by.
///
/// It is the monotonic clock of the machine, as [`Instant::now`] tells it. Code that takes its time
/// from here, for deadlines above all, keeps step with its timers under a clock of another kind too:
/// in a simulation time will be virtual, and pass only as far as the simulation lets it.
///
/// It can be called anywhere, outside a runtime too.
///
/// ```
/// use ringpark::time::{now, sleep_until};
/// use std::time::Duration;
///
/// ringpark::block_on(async {
///     let deadline = now() + Duration::from_millis(5);
///     sleep_until(deadline).await;
///     assert!(now() >= deadline);
/// });
/// ```
pub fn now() -> Instant {
    clock::now()
}
