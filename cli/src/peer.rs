//! Who a connection comes from, for the log.

use std::fmt;
use std::net::SocketAddr;

use ringpark::net::TcpStream;

/// A client's address, if it is to be told. To ask for it is a system call, which a connection that
/// goes well, and whose end is not logged, does not need. But it must be asked for early: of a
/// connection that has ended the system does not know it any more.
pub struct Peer(Option<SocketAddr>);

impl Peer {
    /// Asks for it.
    pub fn of(client: &TcpStream) -> Peer {
        Peer(client.peer_addr().ok())
    }

    /// Asks for it if lines at DEBUG are written, which alone need it.
    pub fn for_debug(client: &TcpStream) -> Peer {
        match tracing::enabled!(tracing::Level::DEBUG) {
            true => Peer::of(client),
            false => Peer(None),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a client that is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_has_no_address() {
        let address = "192.0.2.1:7".parse().unwrap();
        assert_eq!(Peer(Some(address)).to_string(), "192.0.2.1:7");
        assert_eq!(Peer(None).to_string(), "a client that is gone");
    }
}
