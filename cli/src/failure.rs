//! What the program says when it cannot go on: one sentence, and the exit code that fits it.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use std::io::{self, ErrorKind};

/// Why the program ends without having done its work.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the environment asks for something that makes no sense. Exit code 2.
    Usage(String),
    /// The machine lacks what was required of it. Exit code 3.
    Lacking(String),
    /// The machine refuses: a port in use, a limit too low, no backend. Exit code 1.
    Refused(String),
}

impl Failure {
    /// The exit code of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Refused(_) => ExitCode::from(1),
            Failure::Lacking(_) => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(sentence) | Failure::Refused(sentence) | Failure::Lacking(sentence) => {
                f.write_str(sentence)
            }
        }
    }
}

impl Error for Failure {}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Failure {
        Failure::Refused(err.to_string())
    }
}

/// Says that `addr` cannot be listened on, and what would help. The kind of `err` is kept.
pub fn cannot_listen(addr: impl fmt::Display, err: &io::Error) -> io::Error {
    let reason = match err.kind() {
        ErrorKind::AddrInUse => {
            "address already in use; choose another port or stop the program that has it".into()
        }
        ErrorKind::PermissionDenied => {
            "permission denied; a port below 1024 needs root or the capability \
             CAP_NET_BIND_SERVICE"
                .into()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; 0.0.0.0 or [::] listens on all it has".into()
        }
        _ => err.to_string(),
    };
    io::Error::new(err.kind(), format!("cannot listen on {addr}: {reason}"))
}

/// Says that the proxy would forward to itself.
pub fn forwards_to_itself(addr: SocketAddr) -> Failure {
    Failure::Usage(format!(
        "--to {addr} is the address this proxy listens on, so it would forward to itself without \
         end; name another upstream"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_with_what_would_help() {
        let err = cannot_listen("127.0.0.1:80", &io::Error::from(ErrorKind::AddrInUse));
        assert_eq!(err.kind(), ErrorKind::AddrInUse);
        assert_eq!(
            err.to_string(),
            "cannot listen on 127.0.0.1:80: address already in use; choose another port or stop \
             the program that has it"
        );
    }

    #[test]
    fn an_error_without_advice_keeps_its_own_words() {
        let err = cannot_listen("[::1]:80", &io::Error::from_raw_os_error(97));
        assert!(err.to_string().starts_with("cannot listen on [::1]:80: "), "{err}");
        assert!(err.to_string().contains("os error 97"), "{err}");
    }
}
