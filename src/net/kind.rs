//! Whether a descriptor is what it is taken for, and the handles that are made of one.

use std::io;

use super::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::sys::fd::{AsFd, OwnedFd};
use crate::sys::socket::{Socket, Type};

/// What a socket may be taken for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    TcpStream,
    TcpListener,
    Udp,
    UnixStream,
    UnixListener,
    UnixDatagram,
}

impl Kind {
    /// Its type, whether it listens, and what to call it.
    fn looks(self) -> (Type, bool, &'static str) {
        match self {
            Kind::TcpStream => (Type::STREAM, false, "TCP connection"),
            Kind::TcpListener => (Type::STREAM, true, "TCP socket that listens"),
            Kind::Udp => (Type::DGRAM, false, "UDP socket"),
            Kind::UnixStream => (Type::STREAM, false, "connection of a Unix socket"),
            Kind::UnixListener => (Type::STREAM, true, "Unix socket that listens"),
            Kind::UnixDatagram => (Type::DGRAM, false, "Unix socket for datagrams"),
        }
    }

    fn is_unix(self) -> bool {
        matches!(self, Kind::UnixStream | Kind::UnixListener | Kind::UnixDatagram)
    }

    /// Fails if the descriptor is something else.
    fn check(self, fd: &OwnedFd) -> io::Result<()> {
        let invalid = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("the descriptor is no {what}"))
        };
        let (kind, listens, what) = self.looks();
        let fd = fd.as_fd();
        let socket = Socket::new(&fd);
        let is_kind = socket.kind().map_err(|_| invalid("socket"))? == kind;
        let address = socket.local_addr()?;
        let is_family = match self.is_unix() {
            true => address.is_unix(),
            false => address.as_socket().is_some(),
        };
        let is_role = socket.is_listener()?.unwrap_or(listens) == listens;
        match is_kind && is_family && is_role {
            true => Ok(()),
            false => Err(invalid(what)),
        }
    }
}

impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    /// Takes a connection over: see [`TcpStream::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<TcpStream> {
        Kind::TcpStream.check(&fd)?;
        TcpStream::from_std(fd.into())
    }
}

impl TryFrom<OwnedFd> for TcpListener {
    type Error = io::Error;

    /// Takes a listener over: see [`TcpListener::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<TcpListener> {
        Kind::TcpListener.check(&fd)?;
        TcpListener::from_std(fd.into())
    }
}

impl TryFrom<OwnedFd> for UdpSocket {
    type Error = io::Error;

    /// Takes a socket over: see [`UdpSocket::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<UdpSocket> {
        Kind::Udp.check(&fd)?;
        UdpSocket::from_std(fd.into())
    }
}

impl TryFrom<OwnedFd> for UnixStream {
    type Error = io::Error;

    /// Takes a connection over: see [`UnixStream::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<UnixStream> {
        Kind::UnixStream.check(&fd)?;
        UnixStream::from_std(fd.into())
    }
}

impl TryFrom<OwnedFd> for UnixListener {
    type Error = io::Error;

    /// Takes a listener over: see [`UnixListener::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<UnixListener> {
        Kind::UnixListener.check(&fd)?;
        UnixListener::from_std(fd.into())
    }
}

impl TryFrom<OwnedFd> for UnixDatagram {
    type Error = io::Error;

    /// Takes a socket over: see [`UnixDatagram::from_std`].
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    fn try_from(fd: OwnedFd) -> io::Result<UnixDatagram> {
        Kind::UnixDatagram.check(&fd)?;
        UnixDatagram::from_std(fd.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net;
    use std::os::unix::net as unix;

    use super::*;

    const KINDS: [Kind; 6] = [
        Kind::TcpStream,
        Kind::TcpListener,
        Kind::Udp,
        Kind::UnixStream,
        Kind::UnixListener,
        Kind::UnixDatagram,
    ];

    #[test]
    fn each_descriptor_is_of_one_kind() {
        let listener = net::TcpListener::bind("[::1]:0")
            .or_else(|_| net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let path = std::env::temp_dir().join(format!("ringpark-kind-{}", std::process::id()));
        let of_each: [OwnedFd; 6] = [
            stream.into(),
            listener.into(),
            net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            unix::UnixStream::pair().unwrap().0.into(),
            unix::UnixListener::bind(&path).unwrap().into(),
            unix::UnixDatagram::unbound().unwrap().into(),
        ];
        std::fs::remove_file(&path).unwrap();
        for (number, fd) in of_each.iter().enumerate() {
            for (other, kind) in KINDS.iter().enumerate() {
                match kind.check(fd) {
                    Ok(()) => assert_eq!(number, other, "{kind:?}"),
                    Err(error) => {
                        assert_ne!(number, other, "{error}");
                        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                        let what = kind.looks().2;
                        assert_eq!(error.to_string(), format!("the descriptor is no {what}"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_socket_is_told_so() {
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for kind in KINDS {
            let error = kind.check(&file).unwrap_err();
            assert_eq!(error.to_string(), "the descriptor is no socket");
        }
    }
}
