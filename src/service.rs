//! Under a service manager: sockets that it hands in, and what it is told.
//!
//! With these two a service can be restarted without refusing or resetting anybody. The manager keeps
//! the socket open, so connections wait in its queue while no process accepts them, or while two do:
//!
//! ```text
//!   manager   holds the socket ───────────────────────────────────────────────────▶
//!   old       accepts, serves ──────────────┐ SIGTERM: stops accepting, serves on, ends
//!   new                     starts ─ READY ─┘ accepts, serves ────────────────────▶
//! ```
//!
//! The protocols are those of systemd (sd_listen_fds(3), sd_notify(3)), which others speak too.
//! `ringpark proxy` uses both.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::Kind;
use crate::sys;

/// The first descriptor that is handed in; the others follow it.
const FIRST: i32 = 3;

/// A descriptor that was handed in.
#[derive(Debug)]
pub struct Inherited {
    /// What the manager calls it (`LISTEN_FDNAMES`), if it says.
    pub name: Option<String>,
    /// The descriptor, which is closed on exec.
    pub fd: OwnedFd,
}

impl Inherited {
    /// The listener that it is, for [`TcpListener::from_std`](crate::net::TcpListener::from_std).
    ///
    /// # Errors
    /// `InvalidInput` if it is no TCP socket that listens.
    pub fn into_tcp_listener(self) -> io::Result<std::net::TcpListener> {
        Kind::TcpListener.check(&self.fd)?;
        Ok(self.fd.into())
    }
}

/// The descriptors that the service manager hands in by `LISTEN_FDS`, if they are for this process
/// (`LISTEN_PID`): none if nothing is handed in. They are given out once; afterwards there are none.
///
/// # Errors
/// `InvalidData` if the variables make no sense, or name descriptors that are not open.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let count = count(variable("LISTEN_PID")?, variable("LISTEN_FDS")?, std::process::id())?;
    if count == 0 || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let names = variable("LISTEN_FDNAMES")?.unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST..FIRST + count)
        .map(|number| {
            let fd = sys::inherit(number).map_err(|error| {
                invalid(format!("LISTEN_FDS names descriptor {number}, which is unusable: {error}"))
            })?;
            Ok(Inherited { name: names.next().filter(|name| !name.is_empty()), fd })
        })
        .collect()
}

/// How many are handed in to the process `own`.
fn count(pid: Option<String>, fds: Option<String>, own: u32) -> io::Result<i32> {
    let (Some(pid), Some(fds)) = (pid, fds) else { return Ok(0) };
    let pid: u32 = pid.parse().map_err(|_| invalid(format!("LISTEN_PID=`{pid}` is no number")))?;
    if pid != own {
        // They were for a process that has started this one.
        return Ok(0);
    }
    match fds.parse() {
        Ok(count) if (0..=1024).contains(&count) => Ok(count),
        _ => Err(invalid(format!("LISTEN_FDS=`{fds}` is no number of descriptors"))),
    }
}

fn variable(name: &str) -> io::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(invalid(format!("{name}: {error}"))),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Tells the service manager something, such as `READY=1` once connections are accepted and
/// `STOPPING=1` when that is over. False if nobody wants to be told (`NOTIFY_SOCKET` is not set).
///
/// # Errors
/// Those of the socket that the variable names.
pub fn notify(state: &str) -> io::Result<bool> {
    let Some(name) = variable("NOTIFY_SOCKET")?.filter(|name| !name.is_empty()) else {
        return Ok(false);
    };
    // An abstract name is written with an `@` in the place of the zero.
    let path = match name.strip_prefix('@') {
        Some(rest) => format!("\0{rest}"),
        None => name,
    };
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.send_to(state.as_bytes(), &SockAddr::unix(path)?)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_for_this_process_counts() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(count(None, some("1"), 7).unwrap(), 0);
        assert_eq!(count(some("7"), None, 7).unwrap(), 0);
        assert_eq!(count(some("8"), some("1"), 7).unwrap(), 0);
        assert_eq!(count(some("7"), some("2"), 7).unwrap(), 2);
        for (pid, fds) in [("x", "1"), ("7", "many"), ("7", "-1"), ("7", "100000")] {
            let error = count(some(pid), some(fds), 7).unwrap_err();
            assert!(error.to_string().contains("LISTEN_"), "{error}");
        }
    }

    #[test]
    fn what_is_no_listener_is_refused_with_a_sentence() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for fd in [OwnedFd::from(one), file.into()] {
            let error = Inherited { name: None, fd }.into_tcp_listener().unwrap_err();
            assert!(error.to_string().starts_with("the descriptor is no "), "{error}");
        }
    }
}
