//! The floors of a wake from another thread: a message from ring to ring, and an eventfd in epoll.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{opcode, types, IoUring};

use super::wake::{work, Ringer};
use super::{unfit, Order};
use crate::load::Sample;
use crate::ring;

/// The ringer rings more often than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// IORING_ENTER_GETEVENTS.
const GET_EVENTS: u32 = 1;

/// IORING_OP_MSG_RING from a ring of the ringer's own. A busy core looks for work that the kernel
/// has put off by a flag in memory, and enters the kernel only when it is set.
pub(super) fn uring(order: &Order) -> io::Result<Sample> {
    let Order::Wake { busy, .. } = *order else { return Err(unfit("raw-uring", order)) };
    let mut core = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(64)?;
    let target = core.as_raw_fd();
    let mut own: Option<IoUring> = None;
    let ringer = Ringer::start(order, move || {
        // A ring has one thread that submits: the one that opens it.
        let own = match &mut own {
            Some(own) => own,
            none => none.insert(ring::open(8, 16)?),
        };
        let message = opcode::MsgRingData::new(types::Fd(target), 0, 0, None).build();
        // SAFETY: the entry points to nothing.
        unsafe { ring::push(own, &message)? };
        ring::submit_and_wait(own, PATIENCE)?;
        match own.completion().map(|entry| entry.result()).min() {
            Some(errno) if errno < 0 => Err(io::Error::from_raw_os_error(-errno)),
            _ => Ok(()),
        }
    })?;
    while !ringer.bell.over() {
        if !busy {
            ring::submit_and_wait(&core, PATIENCE)?;
        } else {
            work();
            if core.submission().taskrun() {
                // SAFETY: no argument is passed, and nothing was queued. Asking for completions
                // without waiting for any is what runs what was put off.
                unsafe { core.submitter().enter::<libc::sigset_t>(0, 0, GET_EVENTS, None)? };
            }
        }
        if core.completion().count() > 0 {
            ringer.bell.answer();
        }
    }
    ringer.end()
}

/// An eventfd, level-triggered. A busy core asks epoll after each piece of work.
pub(super) fn epoll(order: &Order) -> io::Result<Sample> {
    let Order::Wake { busy, .. } = *order else { return Err(unfit("raw-epoll", order)) };
    // SAFETY: plain system calls; the descriptors they give are taken once.
    let (epoll, bell) = unsafe {
        (
            owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
            owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?,
        )
    };
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let (epoll_fd, bell_fd) = (epoll.as_raw_fd(), bell.as_raw_fd());
    // SAFETY: the event outlives the call.
    checked(unsafe { libc::epoll_ctl(epoll_fd, libc::EPOLL_CTL_ADD, bell_fd, &mut event) })?;
    let ringer = Ringer::start(order, move || {
        let one = 1_u64;
        // SAFETY: eight bytes that outlive the call. The descriptor is open until the core's
        // thread has joined this one.
        match unsafe { libc::write(bell_fd, (&raw const one).cast(), 8) } {
            8 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })?;
    while !ringer.bell.over() {
        if busy {
            work();
        }
        let patience_ms = if busy { 0 } else { PATIENCE.as_millis() as i32 };
        // SAFETY: room for one event, which outlives the call.
        match checked(unsafe { libc::epoll_wait(epoll_fd, &mut event, 1, patience_ms) }) {
            Ok(0) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            woken => drop(woken?),
        }
        let mut count = 0_u64;
        // SAFETY: eight bytes that outlive the call.
        if unsafe { libc::read(bell_fd, (&raw mut count).cast(), 8) } != 8 {
            return Err(io::Error::last_os_error());
        }
        ringer.bell.answer();
    }
    let sample = ringer.end();
    drop(bell);
    sample
}

fn checked(answer: i32) -> io::Result<i32> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// # Safety
/// The descriptor must be nobody else's.
unsafe fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for it.
    checked(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
