//! Unix sockets: connections and datagrams within a machine, with descriptors beside the bytes.

use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;

use super::options;
use crate::handle::message::Pause;
use crate::handle::{Handle, IoHandle};
use crate::op::{is_busy, Ancillary, FDS_MAX};
use crate::sys::fd::OwnedFd;
use crate::sys::socket::SockAddr;

mod datagram;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

/// What was received, and what came with it.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnixMessage {
    /// How many bytes are in the buffer. Zero is the end of a stream; a datagram may be empty.
    pub len: usize,
    /// The datagram was longer than the buffer's room, and its end is lost.
    pub truncated: bool,
    /// Where the datagram comes from; `None` on a stream, and if the sender has no address.
    pub from: Option<SocketAddr>,
    /// The descriptors that came along, in the order in which they were sent. They are close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// More descriptors came than this process had room for (`ulimit -n`), and those are lost.
    pub fds_lost: bool,
}

impl UnixMessage {
    fn new((len, ancillary): (usize, Ancillary)) -> UnixMessage {
        let from = ancillary.from.as_ref().and_then(from_raw);
        UnixMessage {
            len,
            truncated: ancillary.full_len > len,
            from: from.filter(|address| !address.is_unnamed()),
            fds: ancillary.fds,
            fds_lost: ancillary.incomplete,
        }
    }
}

/// Who made the other end of a connection, as it was when that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// The process; 0 where the system does not tell it (FreeBSD before 13).
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// The address in the kernel's form.
fn to_raw(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_name() {
        let marked = [b"\0", name].concat();
        return SockAddr::unix(OsStr::from_bytes(&marked));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the address is that of a socket without one"))
}

/// The address from the kernel's form; `None` if it is not of this family.
fn from_raw(address: &SockAddr) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name).ok();
    }
    match address.is_unix() {
        true => address.as_unix().or_else(|| SocketAddr::from_pathname(OsStr::new("")).ok()),
        false => None,
    }
}

fn unix(address: SockAddr) -> io::Result<SocketAddr> {
    from_raw(&address).ok_or_else(|| io::Error::other("the socket is not of the Unix family"))
}

fn local_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    options::with(handle, |socket| unix(socket.local_addr()?))
}

fn peer_addr<T: 'static>(handle: &Handle<T>) -> io::Result<SocketAddr> {
    options::with(handle, |socket| unix(socket.peer_addr()?))
}

/// More descriptors than a message can take are a mistake that the kernel has no good word for.
fn check_fds(fds: &[OwnedFd]) -> io::Result<()> {
    if fds.len() <= FDS_MAX {
        return Ok(());
    }
    let what = format!("{} descriptors in one message: {FDS_MAX} can go at most", fds.len());
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Connects, and waits while the other side's queue is full.
async fn connect(handle: &Rc<IoHandle>, address: &SocketAddr) -> io::Result<()> {
    let address = to_raw(address)?;
    let mut pause = Pause::new();
    loop {
        match super::connect::connect(handle, address.clone()).await {
            Err(error) if is_busy(&error) => pause.wait(handle).await,
            other => return other,
        }
    }
}
