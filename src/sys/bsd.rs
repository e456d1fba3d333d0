//! What the BSDs and Apple's systems have other calls for than Linux: the list of `linux.rs`.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use super::Notify;

/// poll(2) has no word of its own here for the end of the peer's writing side: it says readable.
pub(crate) const POLLRDHUP: libc::c_short = 0;

/// Congestion notifications are not told (ENOPROTOOPT).
pub(crate) fn set_recv_ecn(_socket: &socket2::Socket, _v6: bool, _on: bool) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT))
}

/// Joins a group, by the interface that the kernel chooses: none can be named by its number.
pub(crate) fn join_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    match interface {
        0 => socket.join_multicast_v4(group, &Ipv4Addr::UNSPECIFIED),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The end of `join_multicast_v4`.
pub(crate) fn leave_multicast_v4(
    socket: &socket2::Socket,
    group: &Ipv4Addr,
    interface: u32,
) -> io::Result<()> {
    match interface {
        0 => socket.leave_multicast_v4(group, &Ipv4Addr::UNSPECIFIED),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether a listener can be opened to others that share its port after it was bound without them:
/// FreeBSD puts it among them when it is bound.
pub(crate) const SHARES_PORT_LATER: bool = false;

/// Lets several sockets of this user be bound to the same address. FreeBSD and DragonFly spread
/// connections among them; on the others one of them gets all.
pub(crate) fn share_port(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    #[cfg(target_os = "freebsd")]
    return socket.set_reuse_port_lb(on);
    #[cfg(not(target_os = "freebsd"))]
    socket.set_reuse_port(on)
}

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

#[cfg(target_os = "freebsd")]
pub(crate) use freebsd::{allowed_cpus, pin_to};
#[cfg(not(target_os = "freebsd"))]
pub(crate) use unpinned::{allowed_cpus, pin_to};

/// cpuset(2), of FreeBSD.
#[cfg(target_os = "freebsd")]
mod freebsd {
    use std::io;
    use std::mem::MaybeUninit;

    use crate::sys::cvt;

    /// -1 is the calling thread.
    const THIS: libc::id_t = -1;

    /// The processors that this thread may run on, in order.
    pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
        let mut set = MaybeUninit::<libc::cpuset_t>::zeroed();
        let (size, mask) = (size_of::<libc::cpuset_t>(), set.as_mut_ptr());
        let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
        // SAFETY: the set is valid for writing the size that is told.
        cvt(unsafe { libc::cpuset_getaffinity(level, which, THIS, size, mask) })?;
        // SAFETY: zeroed is a valid set, and the kernel has filled it.
        let set = unsafe { set.assume_init() };
        // SAFETY: every index is below CPU_SETSIZE.
        Ok((0..libc::CPU_SETSIZE as usize)
            .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
            .collect())
    }

    /// Lets this thread run on one processor only.
    pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut set = MaybeUninit::<libc::cpuset_t>::zeroed();
        // SAFETY: zeroed is a valid empty set, and the index is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, set.assume_init_mut()) };
        let (size, mask) = (size_of::<libc::cpuset_t>(), set.as_ptr());
        let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
        // SAFETY: the set is valid for reading the size that is told.
        cvt(unsafe { libc::cpuset_setaffinity(level, which, THIS, size, mask) }).map(drop)
    }
}

/// The other systems: a thread runs wherever the kernel puts it.
#[cfg(not(target_os = "freebsd"))]
mod unpinned {
    use std::io;

    fn unsupported<T>() -> io::Result<T> {
        let message = "this system cannot bind a thread to a processor";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// The processors that this thread may run on: which they are is not to be had.
    pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
        unsupported()
    }

    /// Lets this thread run on one processor only: it cannot be told.
    pub(crate) fn pin_to(_cpu: usize) -> io::Result<()> {
        unsupported()
    }
}
