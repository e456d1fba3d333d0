//! What the BSDs and Apple's systems have other calls for than Linux: the list of `linux.rs`.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use super::{cvt, Notify};

// One list of names again, for what each of them has its own way of.
#[cfg_attr(target_vendor = "apple", path = "bsd/apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "bsd/freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "bsd/netbsd.rs")]
#[cfg_attr(target_os = "openbsd", path = "bsd/openbsd.rs")]
mod own;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
#[path = "bsd/unallocated.rs"]
mod unallocated;
#[cfg(not(target_os = "freebsd"))]
#[path = "bsd/unpinned.rs"]
mod unpinned;

pub(crate) use own::*;

/// poll(2) has no word of its own here for the end of the peer's writing side: it says readable.
pub(crate) const POLLRDHUP: libc::c_short = 0;

/// Whether a listener can be opened to others that share its port after it was bound without them:
/// FreeBSD puts it among them when it is bound.
pub(crate) const SHARES_PORT_LATER: bool = false;

/// A pair of sockets, one of which another thread can write to, to end a wait for the other.
#[derive(Debug)]
pub(crate) struct WakeFd {
    ours: UnixStream,
    theirs: UnixStream,
}

impl WakeFd {
    /// Makes one; `nonblocking` is what selectors need, and all that there is.
    pub(crate) fn new(nonblocking: bool) -> io::Result<WakeFd> {
        debug_assert!(nonblocking);
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok(WakeFd { ours, theirs })
    }

    /// Takes what has been written, so that the descriptor is not readable any more.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        // An error says that there was nothing; what is left after one read is another wake-up.
        let _ = (&self.ours).read(&mut bytes);
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.ours.as_raw_fd()
    }
}

impl Notify for WakeFd {
    /// Makes the descriptor readable.
    fn raise(&self) -> io::Result<()> {
        loop {
            match (&self.theirs).write(&[1]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // There is no room: the reader has plenty to wake up for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => return other.map(drop),
            }
        }
    }
}

/// Lets the kernel make room for descriptors: here it need not be asked, as nobody waits while the
/// table grows.
pub(crate) fn make_room_for_descriptors() -> io::Result<()> {
    Ok(())
}

/// Calls `call` while waits of this thread end on time: nothing lets them do so here.
pub(crate) fn punctually<T>(_call: impl FnOnce() -> T) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the kernel cuts a message into a series of datagrams.
pub(crate) const SENDS_SERIES: bool = false;

/// Whether the kernel sends files to sockets, and tells what it would have to wait for: only FreeBSD's
/// tells, and what a helper thread has read ahead may as well be written.
pub(crate) const SENDS_FILES: bool = false;

/// Lets the kernel put datagrams together: none does.
pub(crate) fn set_udp_gro(_socket: &socket2::Socket, _on: bool) -> io::Result<()> {
    Err(unknown())
}

/// Whether it does.
pub(crate) fn udp_gro(_socket: &socket2::Socket) -> io::Result<bool> {
    Err(unknown())
}

/// Whether what comes is acknowledged at once: only Linux can be asked.
pub(crate) fn quickack(_socket: &socket2::Socket) -> io::Result<bool> {
    Err(unknown())
}

/// Lets what comes be acknowledged at once: only Linux does.
pub(crate) fn set_quickack(_socket: &socket2::Socket, _on: bool) -> io::Result<()> {
    Err(unknown())
}

/// The error of an option that the system does not know.
fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOPROTOOPT)
}

/// An option of a socket.
///
/// # Safety
/// Any bytes must be a `T`.
unsafe fn get_option<T>(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointers are to locals, and the length is that of the first.
    cvt(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) })?;
    // SAFETY: zeros or what the kernel has written: the caller vouches for both.
    Ok(unsafe { value.assume_init() })
}
