//! Under a service manager: sockets that it hands in, and what it is told.
//!
//! With these two the proxy can be restarted without refusing or resetting anybody. The manager keeps
//! the socket open, so connections wait in its queue while no process accepts them, or while two do:
//!
//! ```text
//!   manager   holds the socket ───────────────────────────────────────────────────▶
//!   old       accepts, serves ──────────────┐ SIGTERM: stops accepting, serves on, ends
//!   new                     starts ─ READY ─┘ accepts, serves ────────────────────▶
//! ```
//!
//! The protocols are those of systemd (sd_listen_fds(3), sd_notify(3)), which others speak too.

use std::env;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, Socket, Type};

/// The listeners that the service manager hands in by `LISTEN_FDS`, if they are for this process
/// (`LISTEN_PID`): none if nothing is handed in. They are given out once; afterwards there are none.
///
/// # Errors
/// `InvalidData` if the variables make no sense, `InvalidInput` for what is no TCP socket that listens.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let count = count(variable("LISTEN_PID")?, variable("LISTEN_FDS")?, std::process::id())?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // It takes the variables out of the environment.
    let mut handed_in = ListenFd::from_env();
    (0..count)
        .map(|index| {
            let taken = handed_in.take_tcp_listener(index).map_err(|error| no_listener(&error))?;
            let listener = taken.ok_or_else(|| no_listener(&"it was taken before"))?;
            match listens(&listener)? {
                true => Ok(listener),
                false => Err(no_listener(&"it does not listen")),
            }
        })
        .collect()
}

/// Whether a socket listens. macOS cannot tell.
fn listens(socket: &TcpListener) -> io::Result<bool> {
    #[cfg(target_vendor = "apple")]
    let answer = Ok(socket.local_addr().is_ok());
    #[cfg(not(target_vendor = "apple"))]
    let answer = Ok(rustix::net::sockopt::socket_acceptconn(socket)?);
    answer
}

fn no_listener(why: &dyn std::fmt::Display) -> io::Error {
    let sentence = format!("a descriptor handed in is no TCP socket that listens: {why}");
    io::Error::new(io::ErrorKind::InvalidInput, sentence)
}

/// How many are handed in to the process `own`.
fn count(pid: Option<String>, fds: Option<String>, own: u32) -> io::Result<usize> {
    let (Some(pid), Some(fds)) = (pid, fds) else { return Ok(0) };
    let pid: u32 = pid.parse().map_err(|_| invalid(format!("LISTEN_PID=`{pid}` is no number")))?;
    if pid != own {
        // They were for a process that has started this one.
        return Ok(0);
    }
    match fds.parse() {
        Ok(count) if count <= 1024 => Ok(count),
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
/// `STOPPING=1` when that is over. Nobody is told where `NOTIFY_SOCKET` is not set.
///
/// # Errors
/// Those of the socket that the variable names.
pub fn notify(state: &str) -> io::Result<()> {
    match variable("NOTIFY_SOCKET")?.filter(|name| !name.is_empty()) {
        Some(name) => tell(&name, state),
        None => Ok(()),
    }
}

fn tell(name: &str, state: &str) -> io::Result<()> {
    // An abstract name is written with an `@` in the place of the zero.
    let address = match name.strip_prefix('@') {
        Some(rest) => SockAddr::unix(format!("\0{rest}"))?,
        None => SockAddr::unix(name)?,
    };
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.send_to(state.as_bytes(), &address)?;
    Ok(())
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

    #[cfg(not(target_vendor = "apple"))]
    #[test]
    fn a_socket_that_listens_is_told_from_one_that_does_not() {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        assert!(!listens(&bound.into()).unwrap());
        assert!(listens(&TcpListener::bind("127.0.0.1:0").unwrap()).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_manager_is_told_at_a_path_and_at_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("ringpark-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        let path = path.to_str().expect("text");
        for (manager, name) in [(at_path, path), (at_name, &format!("@{name}"))] {
            tell(name, "READY=1").unwrap();
            let mut heard = [0; 16];
            let count = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"READY=1");
        }
        assert!(tell(path, "READY=1").is_err(), "nobody listens there any more");
    }
}
