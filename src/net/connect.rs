//! New sockets, bound and connected: what those of every family have in common.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::ports::Sharing;
use crate::handle::permit::{acquire, perform};
use crate::handle::{Handle, IoHandle, Submission};
use crate::op::{Connect, Interest, Socket};
use crate::runtime::Core;
use crate::sys;
use crate::sys::socket::SockAddr;

/// A new socket, whose first user is the caller.
pub(super) async fn open(socket: Socket) -> io::Result<Rc<IoHandle>> {
    let core = Core::current();
    let fd = Submission::new(core.clone(), socket).await?;
    Ok(Handle::new(core, fd))
}

/// Gives a socket of IP an address, which other cores of the group may share.
pub(super) fn bind(
    socket: &sys::Socket<'_>,
    address: SocketAddr,
    sharing: Sharing,
) -> io::Result<()> {
    let address = SockAddr::from(address);
    match sharing {
        Sharing::No => socket.bind(&address),
        // Bound without sharing, so that a foreign socket is noticed, then opened up.
        Sharing::AsFirst if sys::SHARES_PORT_LATER => {
            socket.bind(&address)?;
            socket.share_port(true)
        }
        Sharing::AsFirst | Sharing::WithOthers => {
            socket.share_port(true)?;
            socket.bind(&address)
        }
    }
}

/// Connects, before the write deadline.
pub(super) async fn connect(handle: &Rc<IoHandle>, address: SockAddr) -> io::Result<()> {
    let permit = acquire(handle, Interest::Writable).await?;
    let op = Connect::new(permit, address);
    perform(handle, Interest::Writable, op).await.map(drop)
}
