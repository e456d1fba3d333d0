//! When an idle connection is probed, and how often: OpenBSD, whose list is `keepalive_lean.rs`, has it
//! for all connections of the machine at once.

use std::io;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

pub(super) fn time(socket: &Socket) -> io::Result<Duration> {
    socket.tcp_keepalive_time()
}

/// This turns probing on too, and so do the two below: `socket2` has no way to set one alone.
pub(super) fn set_time(socket: &Socket, time: Duration) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time))
}

pub(super) fn interval(socket: &Socket) -> io::Result<Duration> {
    socket.tcp_keepalive_interval()
}

pub(super) fn set_interval(socket: &Socket, time: Duration) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(time))
}

pub(super) fn retries(socket: &Socket) -> io::Result<u32> {
    socket.tcp_keepalive_retries()
}

pub(super) fn set_retries(socket: &Socket, count: u32) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(count))
}
