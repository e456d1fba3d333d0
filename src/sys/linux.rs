//! What Linux has its own calls for; `bsd.rs` is the same list for the other systems.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::flag::{get_flag, set_flag};
use super::{cvt, position, read, scratch, write, Notify};

/// What poll(2) says when the peer has closed its writing side.
pub(crate) const POLLRDHUP: libc::c_short = libc::POLLRDHUP;

/// Whether a listener can be opened to others that share its port after it was bound without them.
pub(crate) const SHARES_PORT_LATER: bool = true;

/// Lets several sockets of this user be bound to the same address, among which connections are
/// spread.
pub(crate) fn share_port(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    socket.set_reuse_port(on)
}

/// Whether they may.
pub(crate) fn shares_port(socket: &socket2::Socket) -> io::Result<bool> {
    socket.reuse_port()
}

/// What the selectors that watch a descriptor are woken through.
pub(crate) use EventFd as WakeFd;

/// An eventfd: a counter that another thread can raise to end a wait.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one; `nonblocking` decides whether reading a zero count waits.
    pub(crate) fn new(nonblocking: bool) -> io::Result<EventFd> {
        let flags = libc::EFD_CLOEXEC | if nonblocking { libc::EFD_NONBLOCK } else { 0 };
        // SAFETY: eventfd takes no pointer.
        let fd = cvt(unsafe { libc::eventfd(0, flags) })?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the count down to zero. For a non-blocking one only.
    pub(crate) fn drain(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the array has room for the eight bytes of a counter.
        // An error says that the count was zero already.
        let _ = unsafe { read(self.fd(), count.as_mut_ptr(), count.len()) };
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Notify for EventFd {
    /// Raises the count by one.
    fn raise(&self) -> io::Result<()> {
        loop {
            match write(self.fd(), &1u64.to_ne_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The counter is at its limit: the reader has plenty to wake up for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => return other.map(drop),
            }
        }
    }
}

/// Room is made for so many descriptors: 8 bytes and two bits of the kernel's memory each, so 528 KiB,
/// which a process takes once. A proxy relays 30,000 connections with them. Children that are forked
/// get as much of it as they have descriptors.
const DESCRIPTORS_AT_ONCE: u64 = 65_536;

/// Lets the kernel make room for descriptors, as far as the limit permits, while this thread may be
/// the only one. Its table begins with 64 and doubles when it is full, and where threads share it,
/// whoever needs the next descriptor waits until no processor looks at the old one any more: for
/// some ten milliseconds, in which a core does nothing else (`expand_fdtable` in Linux's fs/file.c).
///
/// Where there is room already, nothing happens.
pub(crate) fn make_room_for_descriptors() -> io::Result<()> {
    let (limit, _) = scratch::limit(libc::RLIMIT_NOFILE);
    let room = limit.unwrap_or(u64::MAX).min(DESCRIPTORS_AT_ONCE);
    let last = room.saturating_sub(1) as libc::c_int;
    let any = EventFd::new(true)?;
    // SAFETY: F_DUPFD_CLOEXEC takes a number.
    let highest = cvt(unsafe { libc::fcntl(any.fd(), libc::F_DUPFD_CLOEXEC, last) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(highest) });
    Ok(())
}

/// The processors that this thread may run on, in order.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the set is valid for writing the size that is told.
    cvt(unsafe { libc::sched_getaffinity(0, size, set.as_mut_ptr()) })?;
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
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeroed is a valid empty set, and the index is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, set.assume_init_mut()) };
    // SAFETY: the set is valid for reading the size that is told.
    cvt(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr()) }).map(drop)
}

/// Calls `call` while waits of this thread end on time: as a rule the kernel may let them last 50 µs
/// longer, to wake up for several at once (PR_SET_TIMERSLACK in prctl(2)).
pub(crate) fn punctually<T>(call: impl FnOnce() -> T) -> io::Result<T> {
    let slack = timer_slack()?;
    set_timer_slack(1)?;
    let result = call();
    set_timer_slack(slack)?;
    Ok(result)
}

/// How much longer waits of this thread may last, in nanoseconds.
fn timer_slack() -> io::Result<libc::c_ulong> {
    let none: libc::c_ulong = 0;
    // SAFETY: the request takes no pointer.
    let slack = cvt(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, none, none, none, none) })?;
    Ok(slack as libc::c_ulong)
}

/// Sets it. Zero stands for what the thread began with; a thread in real time has none, whatever is
/// set.
fn set_timer_slack(nanos: libc::c_ulong) -> io::Result<()> {
    let none: libc::c_ulong = 0;
    // SAFETY: the request takes a number.
    cvt(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos, none, none, none) }).map(drop)
}

/// Lets the kernel put datagrams together (5.0).
pub(crate) fn set_udp_gro(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    set_flag(socket, libc::SOL_UDP, libc::UDP_GRO, on)
}

/// Whether it does.
pub(crate) fn udp_gro(socket: &socket2::Socket) -> io::Result<bool> {
    get_flag(socket, libc::SOL_UDP, libc::UDP_GRO)
}

/// Whether what comes is acknowledged at once (`TCP_QUICKACK`).
pub(crate) fn quickack(socket: &socket2::Socket) -> io::Result<bool> {
    socket.tcp_quickack()
}

/// Lets what comes be acknowledged at once, for as long as the kernel sees fit.
pub(crate) fn set_quickack(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    socket.set_tcp_quickack(on)
}

/// Whether the kernel cuts a message into a series of datagrams (`UDP_SEGMENT`, 4.18). The tests of
/// kqueue go the way of the systems that have it.
pub(crate) const SENDS_SERIES: bool = cfg!(not(ringpark_kqueue));

/// Whether the kernel sends files to sockets, and tells what it would have to wait for. As above.
pub(crate) const SENDS_FILES: bool = cfg!(not(ringpark_kqueue));

/// The flag of open(2) for a file that is not to be cached.
pub(crate) const DIRECT: Option<libc::c_int> = Some(libc::O_DIRECT);

/// Lets a file that was opened so not be cached, which it is not.
pub(crate) fn pass_cache(_file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Makes room in a file, from a position on; zeros if it was not written to before.
pub(crate) fn allocate(fd: BorrowedFd<'_>, at: u64, len: u64) -> io::Result<()> {
    let (at, len) = (position(at)?, position(len)?);
    // SAFETY: the call takes no pointer.
    cvt(unsafe { libc::fallocate(fd.as_raw_fd(), 0, at, len) }).map(drop)
}

/// Who made the other end of a local connection: process, user, group.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<(i32, u32, u32)> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of_val(&who) as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the pointers are to locals, and the length is that of the first.
    let result =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut who).cast(), &raw mut length) };
    cvt(result).map(|_| (who.pid, who.uid, who.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_punctual_only_while_they_are_asked_to_be() {
        let before = timer_slack().expect("it can be asked for");
        assert_eq!(punctually(|| timer_slack().expect("as before")).expect("it can be set"), 1);
        assert_eq!(timer_slack().expect("as before"), before);
    }
}
