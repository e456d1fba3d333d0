//! The list of `keepalive.rs` where there is nothing of it: OpenBSD has these for all connections of the
//! machine at once.

use std::io;
use std::time::Duration;

use socket2::Socket;

pub(super) fn time(_socket: &Socket) -> io::Result<Duration> {
    Err(unknown())
}

pub(super) fn set_time(_socket: &Socket, _time: Duration) -> io::Result<()> {
    Err(unknown())
}

pub(super) fn interval(_socket: &Socket) -> io::Result<Duration> {
    Err(unknown())
}

pub(super) fn set_interval(_socket: &Socket, _time: Duration) -> io::Result<()> {
    Err(unknown())
}

pub(super) fn retries(_socket: &Socket) -> io::Result<u32> {
    Err(unknown())
}

pub(super) fn set_retries(_socket: &Socket, _count: u32) -> io::Result<()> {
    Err(unknown())
}

fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOPROTOOPT)
}
