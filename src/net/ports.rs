//! The ports that the cores of a group share: which addresses some core has bound, and who
//! distributes the connections of those that one acceptor serves.
//!
//! A port that the system chooses (port 0), and any port of a core that runs alone, is nobody else's.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::dispatch::{Dispatcher, Seat};
use crate::runtime::{Accept, Core};
use crate::sys::fd::{BorrowedFd, OwnedFd};
use crate::sys::socket::Socket;

/// What the cores of a group have bound.
#[derive(Default)]
struct Ports {
    /// Addresses that some core has bound, to share them with the others.
    listening: Mutex<HashSet<(Protocol, SocketAddr)>>,
    /// Addresses whose connections one acceptor distributes.
    dispatchers: Mutex<HashMap<SocketAddr, Arc<Dispatcher>>>,
}

/// Whose addresses: those of TCP and of UDP have nothing to do with each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// How an address is shared among the cores of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sharing {
    /// Not at all.
    No,
    /// Taken alone, then opened to the others.
    AsFirst,
    /// Another core has it already.
    WithOthers,
}

/// Whether several cores may want the address.
fn is_shared(core: &Core, address: SocketAddr) -> bool {
    core.group.cores() > 1 && address.port() != 0
}

/// Whether one acceptor serves all cores that listen on the address.
pub(super) fn is_dispatched(core: &Core, address: SocketAddr) -> bool {
    is_shared(core, address) && core.group.accept() == Accept::ByLoad
}

/// A seat at the dispatcher of the address, and a descriptor of its socket, which `bind` makes if
/// there is none yet.
pub(super) fn sit(
    core: &Core,
    address: SocketAddr,
    bind: impl FnOnce() -> io::Result<OwnedFd>,
) -> io::Result<(Seat, OwnedFd)> {
    let ports = core.group.shared::<Ports>();
    let mut dispatchers = ports.dispatchers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(dispatcher) = dispatchers.get(&address) {
        if let Some(seated) = dispatcher.sit()? {
            return Ok(seated);
        }
    }
    let dispatcher = Dispatcher::new(bind()?);
    let seated = dispatcher.sit()?.expect("its socket has just been made");
    dispatchers.insert(address, dispatcher);
    Ok(seated)
}

/// A seat for a socket that listens already, if one acceptor serves all cores on its address.
pub(super) fn take_seat(
    core: &Core,
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(Seat, OwnedFd)>> {
    match Socket::new(&socket).local_addr()?.as_socket() {
        Some(address) if is_dispatched(core, address) => {
            sit(core, address, || socket.try_clone_to_owned()).map(Some)
        }
        _ => Ok(None),
    }
}

/// Calls `bind`, saying whether another core of the group may have the same address: the first to
/// bind must have the address to itself, so that a foreign listener is noticed.
pub(super) fn bind_shared<T>(
    core: &Core,
    protocol: Protocol,
    address: SocketAddr,
    bind: impl FnOnce(Sharing) -> io::Result<T>,
) -> io::Result<T> {
    if !is_shared(core, address) {
        return bind(Sharing::No);
    }
    let ports = core.group.shared::<Ports>();
    // The lock is held while binding, so that the first is first.
    let mut listening = ports.listening.lock().unwrap_or_else(PoisonError::into_inner);
    let first = !listening.contains(&(protocol, address));
    let bound = bind(if first { Sharing::AsFirst } else { Sharing::WithOthers })?;
    listening.insert((protocol, address));
    Ok(bound)
}
