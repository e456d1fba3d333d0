//! Keeps a log readable while something fails a thousand times a second: the first of its kind is
//! said at once, those that follow are counted, and the count is said from time to time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often one kind of trouble may have a line.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of trouble.
#[derive(Debug, Default)]
pub struct Repeat {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said_at: Option<Instant>,
    kept_back: u64,
}

impl Repeat {
    /// Counts one occurrence at `now`. `Some(n)`: say it, and that `n` were kept back since the
    /// last line. `None`: it has been counted.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = state.said_at.is_some_and(|at| now.saturating_duration_since(at) < EVERY);
        if recent {
            state.kept_back += 1;
            return None;
        }
        state.said_at = Some(now);
        Some(std::mem::take(&mut state.kept_back))
    }

    /// Forgets: the trouble is over, and the next one is news again.
    pub fn reset(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

/// The tail of a line that stands for several occurrences: empty for none kept back.
pub fn kept_back(count: u64) -> String {
    match count {
        0 => String::new(),
        n => format!(" (and {n} more since this was last said)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_flood_is_counted() {
        let (repeat, start) = (Repeat::default(), Instant::now());
        assert_eq!(repeat.due(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(repeat.due(start + EVERY / 2), None);
        }
        assert_eq!(repeat.due(start + EVERY), Some(1000));
        assert_eq!(repeat.due(start + EVERY * 2), Some(0));
    }

    #[test]
    fn after_a_reset_it_is_news_again() {
        let (repeat, start) = (Repeat::default(), Instant::now());
        assert_eq!(repeat.due(start), Some(0));
        assert_eq!(repeat.due(start), None);
        repeat.reset();
        assert_eq!(repeat.due(start), Some(0));
    }

    #[test]
    fn a_count_is_said_only_where_there_is_one() {
        assert_eq!(kept_back(0), "");
        assert_eq!(kept_back(3), " (and 3 more since this was last said)");
    }
}
