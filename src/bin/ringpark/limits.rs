//! The descriptor limit: raised as far as the system lets us, and said where that is too little.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tracing::{debug, warn};

use crate::failure::Failure;

/// What the program itself keeps open, and what each core does: its ring or epoll, its notifier,
/// its listener, a spare. Rounded up.
const OWN: u64 = 16;
const PER_CORE: u64 = 8;
/// A connection is two sockets: the client's and the upstream's.
const PER_CONNECTION: u64 = 2;
/// With room for fewer connections than this, the operator is warned.
const FEW_CONNECTIONS: u64 = 1000;

/// Raises the soft limit to the hard one. An error where not even one connection would fit.
pub fn raise(cores: usize) -> Result<(), Failure> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => debug!("descriptor limit raised to {}", words(maximum)),
            Err(err) => warn!("the descriptor limit stays at {}: {err}", words(current)),
        }
    }
    match room(getrlimit(Resource::Nofile).current, cores) {
        Ok(connections) if connections < FEW_CONNECTIONS => warn!(
            "the descriptor limit leaves room for about {connections} connections; raise it with \
             `ulimit -Hn` or LimitNOFILE="
        ),
        Ok(_) => {}
        Err(sentence) => return Err(Failure::Refused(sentence)),
    }
    Ok(())
}

/// How many connections fit under `limit` (`None`: no limit), or why not even one does.
fn room(limit: Option<u64>, cores: usize) -> Result<u64, String> {
    let Some(limit) = limit else { return Ok(u64::MAX) };
    let own = OWN + PER_CORE * cores as u64;
    let needed = own + PER_CONNECTION;
    if limit < needed {
        return Err(format!(
            "the descriptor limit of {limit} is too low: {threads} and one connection \
             need {needed}; raise it with `ulimit -Hn` or LimitNOFILE=",
            threads = count_of_threads(cores),
        ));
    }
    Ok((limit - own) / PER_CONNECTION)
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
        assert_eq!(room(Some(20_024), 1), Ok(10_000));
        assert_eq!(room(None, 4), Ok(u64::MAX));
        assert_eq!(room(Some(26), 1), Ok(1));
    }

    #[test]
    fn a_limit_below_one_connection_is_refused_with_the_number_needed() {
        let said = room(Some(25), 1).unwrap_err();
        assert!(said.contains("limit of 25"), "{said}");
        assert!(said.contains("1 thread and one connection need 26"), "{said}");
    }
}
