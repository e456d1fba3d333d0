//! The descriptor limit: raised as far as the system lets us, kept to, and said where it is too
//! low.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tracing::{debug, warn};

use crate::failure::Failure;

/// What the program itself keeps open, and what each core does: its ring or epoll, its notifier,
/// its listener, a spare. Rounded up.
const OWN: u64 = 16;
const PER_CORE: u64 = 8;
/// A connection is two sockets: the client's and the upstream's.
const PER_CONNECTION: u64 = 2;
/// A multishot accept takes what is in the listener's queue, whether or not anybody asks for it yet.
const AHEAD: u64 = 1024;
/// With room for fewer connections than this, the operator is warned.
const FEW_CONNECTIONS: u64 = 1000;

/// How many connections a core may have open, so that descriptors never run out: a core without
/// descriptors would have accepted clients that it cannot connect to any upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The most that one core may have open.
    pub per_core: usize,
    /// Whether a core may accept more connections than it serves. Not where descriptors are few.
    pub accept_ahead: bool,
}

/// Raises the soft limit to the hard one, and says what room there is. An error where not even one
/// connection for each core would fit.
pub fn raise(cores: usize) -> Result<Room, Failure> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => debug!("descriptor limit raised to {}", words(maximum)),
            Err(err) => warn!("the descriptor limit stays at {}: {err}", words(current)),
        }
    }
    let limit = getrlimit(Resource::Nofile).current;
    let room = room(limit.unwrap_or(u64::MAX), cores as u64).map_err(Failure::Refused)?;
    let connections = room.per_core.saturating_mul(cores);
    if (connections as u64) < FEW_CONNECTIONS {
        warn!(
            "the descriptor limit leaves room for {connections} connections; raise it with \
             `ulimit -Hn` or LimitNOFILE="
        );
    }
    Ok(room)
}

/// The room under `limit`, or why there is none.
fn room(limit: u64, cores: u64) -> Result<Room, String> {
    let own = OWN + PER_CORE * cores;
    let needed = own + PER_CONNECTION * cores;
    if limit < needed {
        return Err(format!(
            "the descriptor limit of {limit} is too low: {threads} and one connection for each \
             need {needed}; raise it with `ulimit -Hn` or LimitNOFILE=",
            threads = count_of_threads(cores as usize),
        ));
    }
    let accept_ahead = limit / 4 >= AHEAD * cores;
    let ahead = if accept_ahead { AHEAD * cores } else { 0 };
    let per_core = (limit - own - ahead) / PER_CONNECTION / cores;
    Ok(Room { per_core: usize::try_from(per_core).unwrap_or(usize::MAX), accept_ahead })
}

/// `1 thread`, `2 threads`.
pub fn count_of_threads(n: usize) -> String {
    format!("{n} {}", if n == 1 { "thread" } else { "threads" })
}

fn words(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_is_left_for_pairs_of_sockets() {
        let few = |per_core| Ok(Room { per_core, accept_ahead: false });
        let many = |per_core| Ok(Room { per_core, accept_ahead: true });
        assert_eq!(room(26, 1), few(1));
        assert_eq!(room(60, 1), few(18));
        assert_eq!(room(1024, 2), few(248));
        assert_eq!(room(20_000, 1), many(9476));
        assert_eq!(room(20_000, 2), many(4480));
        assert!(room(u64::MAX, 1024).unwrap().accept_ahead);
    }

    #[test]
    fn a_limit_below_one_connection_is_refused_with_the_number_needed() {
        let said = room(25, 1).unwrap_err();
        assert!(said.contains("limit of 25"), "{said}");
        assert!(said.contains("1 thread and one connection for each need 26"), "{said}");
        assert!(room(35, 2).unwrap_err().contains("need 36"));
    }
}
