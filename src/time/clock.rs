//! The one clock. All time in this library comes from here, so that a simulated clock has one place
//! to be put in.

use std::time::{Duration, Instant};

/// What stands for "never" where a sum of time overflows: about thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
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
    fn sums_that_overflow_are_far_in_the_future() {
        let start = now();
        assert_eq!(later(start, Duration::from_secs(1)), start + Duration::from_secs(1));
        assert_eq!(later(start, Duration::MAX), start + FAR);
        assert!(after(Duration::MAX) >= start + FAR);
    }
}
