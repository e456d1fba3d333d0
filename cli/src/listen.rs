//! Where the proxy listens: on a port of its own, or on sockets that the service manager hands in.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use ringpark::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::args::Address;
use crate::failure::{cannot_listen, Failure};
use crate::service;

/// What every core listens on.
#[derive(Debug)]
pub enum Listen {
    /// A port that is taken, and shared by the cores.
    Port { addr: SocketAddr, _reservation: Socket },
    /// Sockets that listen already, and go on to when this process has ended.
    Inherited(Vec<std::net::TcpListener>),
}

impl Listen {
    /// The sockets handed in, or else `address`.
    pub fn open(address: Option<&Address>) -> Result<Listen, Failure> {
        let inherited = service::inherited()?;
        if !inherited.is_empty() {
            return Ok(Listen::Inherited(inherited));
        }
        let address = address.ok_or_else(|| {
            Failure::Usage(
                "no address to listen on: give --listen, or have a service manager hand a socket \
                 in (LISTEN_FDS)"
                    .into(),
            )
        })?;
        let reservation = reserve(address)?;
        Ok(Listen::Port { addr: address_of(&reservation)?, _reservation: reservation })
    }

    /// The addresses.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Listen::Port { addr, .. } => Ok(vec![*addr]),
            Listen::Inherited(sockets) => sockets.iter().map(|one| one.local_addr()).collect(),
        }
    }

    /// This core's listeners.
    pub async fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        match self {
            Listen::Port { addr, .. } => {
                let listener = TcpListener::bind(*addr).await;
                Ok(vec![listener.map_err(|err| cannot_listen(addr, &err))?])
            }
            Listen::Inherited(sockets) => {
                sockets.iter().map(|one| TcpListener::from_std(one.try_clone()?)).collect()
            }
        }
    }
}

/// Addresses as a user reads them.
pub struct Addresses(pub Vec<SocketAddr>);

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(SocketAddr::to_string).collect();
        f.write_str(&texts.join(" and "))
    }
}

/// Takes the port before the cores start: without SO_REUSEPORT, so that a port somebody else
/// listens on is an error although the cores will share theirs; then with it, so that they can.
/// This socket never listens. It keeps the port, and with port 0 it has chosen one for all cores.
fn reserve(address: &Address) -> Result<Socket, Failure> {
    let addr = match address {
        Address::Fixed(addr) => *addr,
        Address::Named(name) => name
            .to_socket_addrs()
            .map_err(|err| cannot_listen(name, &err))?
            .next()
            .ok_or_else(|| cannot_listen(name, &io::ErrorKind::AddrNotAvailable.into()))?,
    };
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.set_reuse_port(true)?;
        Ok(socket)
    };
    bind().map_err(|err| cannot_listen(addr, &err).into())
}

fn address_of(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::other("the listening socket has no IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_listens_on_cannot_be_reserved() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let said = reserve(&Address::Fixed(addr)).unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("cannot listen on {addr}: address already in")),
            "{said}"
        );
    }

    #[test]
    fn a_reserved_port_can_be_listened_on_by_sockets_that_share_it() {
        let reservation = reserve(&Address::Fixed(([127, 0, 0, 1], 0).into())).unwrap();
        let addr = address_of(&reservation).unwrap();
        for shared in [true, false] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.set_reuse_port(shared).unwrap();
            socket.bind(&addr.into()).unwrap();
            socket.listen(16).unwrap();
        }
    }
}
