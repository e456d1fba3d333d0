//! The one clock. What the library does by the time, it does by the time of this file: so a simulated
//! clock has one place to be put in. Only two kinds of code read the machine's clock themselves: what
//! measures the machine (the probe, and the trials of a ring before one is used), and `sys`, which
//! stands below. `ci/lint.sh` holds the library to that.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sys;

/// What stands for "never" where a sum of time overflows: about thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long ago this moment was; nothing if it has not come.
pub(crate) fn since(at: Instant) -> Duration {
    now().saturating_duration_since(at)
}

/// The time since some moment in the past, by a clock that costs a fraction of the exact one and is
/// behind it by a tick of the kernel.
pub(crate) fn coarse() -> Duration {
    sys::coarse_now()
}

/// Whether this moment has come.
pub(crate) fn has_come(at: Instant) -> bool {
    ahead(at).is_none()
}

/// How far ahead this moment is, at least; `None` if it has come.
///
/// Mostly it is far ahead, and then a coarse clock tells, which costs a fraction of the exact one.
pub(crate) fn ahead(at: Instant) -> Option<Duration> {
    surely_ahead(at).or_else(|| at.checked_duration_since(now()).filter(|left| !left.is_zero()))
}

/// How far the coarse clock may be from the exact one, with plenty to spare: it is behind by a tick
/// of the kernel, 10 ms at most.
const COARSE: Duration = Duration::from_millis(50);

/// How far ahead this moment is at least, as far as a coarse clock can tell.
fn surely_ahead(at: Instant) -> Option<Duration> {
    /// The same moment by both clocks.
    static MOMENT: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (exact, by_coarse) = MOMENT.get_or_init(|| (now(), coarse()));
    let latest = *exact + coarse().saturating_sub(*by_coarse) + COARSE;
    at.checked_duration_since(latest).filter(|left| !left.is_zero())
}

/// The time `delay` from now; some decades from now if it cannot be said.
pub(crate) fn after(delay: Duration) -> Instant {
    later(now(), delay)
}

/// The time `delay` after `start`; some decades after it if it cannot be said.
pub(crate) fn later(start: Instant, delay: Duration) -> Instant {
    let far = || start.checked_add(FAR).unwrap_or(start);
    start.checked_add(delay).unwrap_or_else(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_come_when_it_is_not_ahead() {
        let start = now();
        assert!(has_come(start));
        assert!(ahead(now() + COARSE / 2).is_some_and(|left| left <= COARSE / 2));
        assert!(!has_come(start + FAR));
        assert!(surely_ahead(start + FAR).is_some_and(|left| left <= FAR));
        let soon = now() + COARSE + Duration::from_millis(10);
        while now() < soon {}
        assert_eq!(surely_ahead(soon), None);
        assert!(has_come(soon));
    }

    #[test]
    fn sums_that_overflow_are_far_in_the_future() {
        let start = now();
        assert_eq!(later(start, Duration::from_secs(1)), start + Duration::from_secs(1));
        assert_eq!(later(start, Duration::MAX), start + FAR);
        assert!(after(Duration::MAX) >= start + FAR);
    }
}
