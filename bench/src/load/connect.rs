//! Connections to a contestant, each proven to work before anything is counted.
//!
//! Blocking sockets do: this is before the window, and the harness's own loop takes over later.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{invalid, PATIENCE};
use crate::process::wait_readable;

/// How many connections are proven at once. Below every listen backlog.
pub(super) const BATCH: usize = 100;
/// How many connections share a source address, so that no address runs out of ports.
const PER_SOURCE: usize = 4000;

/// A connection to a contestant. `index` chooses the source address.
pub(super) fn connect(server: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = [127, 0, 0, 2 + u8::try_from(index / PER_SOURCE).map_err(io::Error::other)?];
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    prepare(socket.into())
}

/// The connection that a relay made to the origin for the client that connected last.
pub(super) fn accept(origin: &TcpListener) -> io::Result<TcpStream> {
    match wait_readable(origin.as_fd(), PATIENCE)? {
        true => prepare(origin.accept()?.0),
        false => Err(invalid("the relay did not connect to its origin")),
    }
}

/// Sends `message` from each of the first streams and expects it at each of the second, in order.
/// With no second streams the first ones expect their own message back.
pub(super) fn prove(from: &[TcpStream], to: &[TcpStream], message: &[u8]) -> io::Result<()> {
    let to = if to.is_empty() { from } else { to };
    assert_eq!(from.len(), to.len(), "as many ends as beginnings");
    let mut answer = vec![0; message.len()];
    for (from, to) in from.chunks(BATCH).zip(to.chunks(BATCH)) {
        for mut stream in from {
            stream.write_all(message)?;
        }
        for mut stream in to {
            stream.read_exact(&mut answer)?;
            if answer != message {
                return Err(invalid("the contestant changed what it passed on"));
            }
        }
    }
    Ok(())
}

/// No delay for small messages, no wait without end, and no port left in TIME_WAIT at the close.
fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}
