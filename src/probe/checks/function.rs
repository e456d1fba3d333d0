//! What the trials have in common: how each is told, and what it needs to begin.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::probe::trial::Trial;
use crate::probe::{Check, Group, Outcome, Patience};
use crate::sys::{self, uring::Params};

/// What a trial came to: a note, if there is more to say than that it works.
pub(super) type Tried = Result<Option<String>, Outcome>;

/// Something to try from end to end.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) since: &'static str,
    pub(super) run: fn(&mut Trial) -> Tried,
}

impl Outcome {
    /// What `works` means where it is an error.
    pub(super) fn of(error: &io::Error) -> Outcome {
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY) => Outcome::Absent,
            Some(errno @ (libc::EPERM | libc::EACCES)) => {
                Outcome::refused(errno, "it takes a privilege, or a policy forbids it")
            }
            Some(errno @ libc::ENOMEM) => {
                Outcome::refused(errno, "the locked-memory limit, or no memory")
            }
            Some(errno @ (libc::EMFILE | libc::ENFILE)) => {
                Outcome::refused(errno, "the limit of descriptors")
            }
            _ => Outcome::broken(error.to_string()),
        }
    }
}

impl From<io::Error> for Outcome {
    fn from(error: io::Error) -> Outcome {
        Outcome::of(&error)
    }
}

/// It is broken unless `it_is`.
pub(super) fn expect(it_is: bool, otherwise: impl FnOnce() -> String) -> Result<(), Outcome> {
    if it_is {
        Ok(())
    } else {
        Err(Outcome::broken(otherwise()))
    }
}

pub(super) fn check(
    group: Group,
    name: &str,
    since: &str,
    outcome: Outcome,
    note: Option<String>,
) -> Check {
    let since = (!since.is_empty()).then(|| since.to_owned());
    Check { group, name: name.to_owned(), outcome, note, since }
}

/// Nothing can be tried without a ring.
pub(super) fn untried(why: &Outcome) -> Outcome {
    match why {
        Outcome::Absent => Outcome::Absent,
        _ => untried_at_all(),
    }
}

pub(super) fn untried_at_all() -> Outcome {
    Outcome::Untried { reason: "there is no ring to try it in".to_owned() }
}

/// A small ring for a question or two; `Err` with what that means for what depends on it.
pub(super) fn small_ring(
    patience: Option<Patience>,
    params: &mut Params,
) -> Result<OwnedFd, Outcome> {
    let Some(patience) = patience else { return Err(untried_at_all()) };
    let asked = *params;
    patience
        .retry(|| {
            *params = asked;
            sys::uring::setup(4, params)
        })
        .map_err(|error| untried(&Outcome::of(&error)))
}

/// Two ends of a connection: TCP over loopback, or a pair of Unix sockets where that is down.
pub(in crate::probe) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let connected = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        client.set_nodelay(true)?;
        Ok((client, server))
    });
    connected.or_else(|_| {
        let (one, other) = UnixStream::pair()?;
        // Both are streams, and nothing that is asked of them is about addresses.
        let stream = |socket: UnixStream| TcpStream::from(OwnedFd::from(socket));
        Ok((stream(one), stream(other)))
    })
}
