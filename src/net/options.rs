//! What can be asked of a socket, and set.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;

use crate::handle::Handle;

/// Calls `call` with the socket, unless it is closed.
pub(super) fn with<T: 'static, R>(
    handle: &Handle<T>,
    call: impl FnOnce(SockRef<'_>) -> io::Result<R>,
) -> io::Result<R> {
    handle.with_fd(|fd| call(SockRef::from(&fd)))?
}

/// The address of the socket's own end.
pub(super) fn local_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    with(handle, |socket| inet(socket.local_addr()?))
}

/// The address of the socket's other end.
pub(super) fn peer_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    with(handle, |socket| inet(socket.peer_addr()?))
}

fn inet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("the socket is not of an IP family"))
}
