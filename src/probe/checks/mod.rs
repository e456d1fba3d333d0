//! What is tried, each in a throw-away ring. Nothing here compares versions: `since` is for readers.

use super::{Check, Group, Outcome};
use crate::probe::trial::Trial;

mod buffers;
mod cancel;
mod direct;
mod function;
mod kernel;
mod ring;
mod routes;
mod setup;
mod sockets;
mod zcrx;

pub(super) use function::pair;
use function::{check, untried};
pub(super) use kernel::{features, opcodes, registers};
pub(super) use routes::{loopback, routes};
pub(super) use setup::flags;
pub(super) use zcrx::zero_copy_receive;

/// Every behaviour, tried in `trial`, or said to be untried where there is none.
pub(super) fn functions(trial: &mut Result<Trial, Outcome>) -> Vec<Check> {
    let lists = [ring::LIST, sockets::LIST, buffers::LIST, cancel::LIST, direct::LIST];
    let mut checks = Vec::new();
    for function in lists.into_iter().flatten() {
        let tried = match trial {
            Ok(ring) => (function.run)(ring),
            Err(why) => Err(untried(why)),
        };
        let (outcome, note) = match tried {
            Ok(note) => (Outcome::Works, note),
            Err(outcome) => (outcome, None),
        };
        // What one trial has left behind must not be the next one's trouble.
        if let Ok(ring) = trial {
            if !ring.settle() {
                *trial = Trial::open(ring.patience).map_err(Outcome::from);
            }
        }
        checks.push(check(Group::Function, function.name, function.since, outcome, note));
    }
    checks
}
