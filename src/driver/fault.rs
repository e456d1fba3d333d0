//! A seeded disturber that can stand over any backend: what may go wrong in a kernel, on demand.
//!
//! It only does what a kernel may do: refuse an operation with EINTR or EAGAIN, or a zero-copy send for
//! want of memory that may be locked, move fewer bytes than asked for, find no buffer, deliver
//! completions late and in another order, and so let cancels arrive before or after the result that
//! they race with. The order of one operation's own completions stays, and so does that of
//! completions which fill the ring's buffers, since those are promised. The same seed gives the same
//! decisions.

use std::io;

use crate::completion::{Completion, Token};
use crate::op::Code;

/// The state of the decorator.
pub(crate) struct Faults {
    state: u64,
    /// Answers of our own, for the next turn.
    answers: Vec<Completion>,
    /// Completions kept back, each with the turns that it still has to wait; oldest first.
    held: Vec<(u32, Completion)>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Faults {
        Faults { state: seed, answers: Vec::new(), held: Vec::new() }
    }

    /// The next number of a SplitMix64 sequence.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in `times`, on average.
    fn one_in(&mut self, times: u64) -> bool {
        self.next() % times == 0
    }

    /// Whether an operation is answered with an error at once, instead of being started.
    pub(crate) fn refuse(&mut self, code: Code) -> Option<i32> {
        // A close that says EINTR has closed: to refuse it would be a lie.
        if code == Code::Close || !self.one_in(16) {
            return None;
        }
        if code == Code::SendZc && self.one_in(2) {
            return Some(libc::ENOMEM);
        }
        Some(if self.one_in(2) { libc::EINTR } else { libc::EAGAIN })
    }

    /// Lets this answer come with the next turn.
    pub(crate) fn answer(&mut self, completion: Completion) {
        self.answers.push(completion);
    }

    /// Whether the answer to this operation is ours, and under way.
    pub(crate) fn will_answer(&self, token: Token) -> bool {
        self.answers.iter().any(|answer| answer.token == token)
    }

    /// How much of `len` may be transferred.
    pub(crate) fn clip(&mut self, len: usize) -> usize {
        match len > 1 && self.one_in(4) {
            true => 1 + (self.next() % (len.min(4096) as u64 - 1)) as usize,
            false => len,
        }
    }

    /// Whether a receive is to find no buffer.
    pub(crate) fn no_buffer(&mut self) -> bool {
        self.one_in(16)
    }

    /// Whether the next turn has something to deliver without the kernel.
    pub(crate) fn holds_something(&self) -> bool {
        !self.answers.is_empty() || !self.held.is_empty()
    }

    /// Delays and reorders what a turn has collected.
    pub(crate) fn disturb(&mut self, batch: &mut Vec<Completion>) {
        let fresh: Vec<Completion> = batch.drain(..).chain(self.answers.drain(..)).collect();
        let mut held = std::mem::take(&mut self.held);
        for (turns, _) in &mut held {
            *turns = turns.saturating_sub(1);
        }
        for completion in fresh {
            let turns = if self.one_in(8) { 1 + (self.next() % 3) as u32 } else { 0 };
            held.push((turns, completion));
        }
        for (turns, completion) in held {
            let follows = |kept: &(u32, Completion)| {
                kept.1.token == completion.token
                    || (kept.1.buffer().is_some() && completion.buffer().is_some())
            };
            if turns > 0 || self.held.iter().any(follows) {
                self.held.push((turns, completion));
            } else {
                batch.push(completion);
            }
        }
    }
}

/// The seed in the environment, if any: `RINGPARK_FAULTS=seed`.
pub(super) fn seed_from_environment() -> io::Result<Option<u64>> {
    match std::env::var("RINGPARK_FAULTS") {
        Ok(text) => text.parse().map(Some).map_err(|_| {
            let message = format!("RINGPARK_FAULTS=`{text}` is not a seed: give a whole number");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        }),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_order_is_kept_for_each_operation() {
        for seed in 0..50 {
            let mut faults = Faults::new(seed);
            let mut seen = vec![0; 8];
            let mut batch = Vec::new();
            for round in 1..=100 {
                for slot in 0..8 {
                    let token = Token::op(slot, 1);
                    batch.push(Completion { token, result: round, flags: 0 });
                }
                check(&mut faults, &mut batch, &mut seen);
            }
            while faults.holds_something() {
                check(&mut faults, &mut batch, &mut seen);
            }
            assert_eq!(seen, vec![100; 8], "seed {seed}");
        }
    }

    /// Disturbs, and takes what comes of it, in order.
    fn check(faults: &mut Faults, batch: &mut Vec<Completion>, seen: &mut [i32]) {
        faults.disturb(batch);
        for completion in batch.drain(..) {
            let last = &mut seen[completion.token.slot() as usize];
            assert_eq!(completion.result, *last + 1);
            *last = completion.result;
        }
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let decide = |seed| {
            let mut faults = Faults::new(seed);
            (0..100).map(|_| faults.clip(1000)).collect::<Vec<_>>()
        };
        assert_eq!(decide(7), decide(7));
        assert_ne!(decide(7), decide(8));
        assert!(decide(7).iter().all(|&len| (1..=1000).contains(&len)));
    }
}
