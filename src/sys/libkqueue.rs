//! For tests only: kqueue on Linux, through the library libkqueue (2.3.1), so that the kqueue selector
//! can be run where there is no BSD. The list is that of `kqueue.rs`. Where the library differs from
//! the kernels that it stands in for, the difference is made up for here:
//!
//! - It does not let one descriptor be added with both filters (`EFAULT`): the writing filter is added
//!   for a duplicate, and its events are told of the original.
//! - It does not notice that a descriptor is closed: `closing` takes the filters away, and the
//!   duplicate, which would keep the connection open.
//! - When a connection has failed it asks for the socket's error (`SO_ERROR`), which takes the error away
//!   from the operation that is to tell it. The library that `ci/kqueue.sh` prepares asks
//!   `ringpark_getsockopt` instead.
//! - Two threads that make their first queues at the same time wait for each other for ever: queues
//!   are made one at a time.
//!
//! So it proves what the selector and the engine do with events, and not what a BSD's events are.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{cvt, timespec};

pub(crate) const EV_ADD: u16 = 0x0001;
const EV_DELETE: u16 = 0x0002;
pub(crate) const EV_CLEAR: u16 = 0x0020;
pub(crate) const EV_EOF: u16 = 0x8000;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub(crate) enum Filter {
    Read = -1,
    Write = -2,
    User = -11,
}

/// The library's event.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    filter: i16,
    pub(crate) flags: u16,
    fflags: u32,
    data: isize,
    udata: usize,
}

#[link(name = "kqueue", kind = "static")]
extern "C" {
    #[link_name = "kqueue"]
    fn library_kqueue() -> libc::c_int;
    #[link_name = "kevent"]
    fn library_kevent(
        queue: libc::c_int,
        changes: *const kevent,
        changes_count: libc::c_int,
        events: *mut kevent,
        events_count: libc::c_int,
        timeout: *const libc::timespec,
    ) -> libc::c_int;
}

/// What the library has instead of getsockopt(2): a socket keeps its error.
///
/// # Safety
/// As for getsockopt(2).
#[no_mangle]
unsafe extern "C" fn ringpark_getsockopt(
    fd: libc::c_int,
    level: libc::c_int,
    name: libc::c_int,
    value: *mut libc::c_void,
    len: *mut libc::socklen_t,
) -> libc::c_int {
    if (level, name) == (libc::SOL_SOCKET, libc::SO_ERROR) {
        // SAFETY: the caller vouches for room for an integer.
        unsafe { value.cast::<libc::c_int>().write_unaligned(0) };
        return 0;
    }
    // SAFETY: the caller vouches for the pointers.
    unsafe { libc::getsockopt(fd, level, name, value, len) }
}

/// A wish to change what a queue watches.
pub(crate) fn change(ident: usize, filter: Filter, flags: u16, fflags: u32, udata: u32) -> kevent {
    kevent { ident, filter: filter as i16, flags, fflags, data: 0, udata: udata as usize }
}

/// What a reported event is about.
pub(crate) fn filter(event: &kevent) -> Filter {
    match event.filter {
        -1 => Filter::Read,
        -2 => Filter::Write,
        _ => Filter::User,
    }
}

/// What the event was given when it was added.
pub(crate) fn udata(event: &kevent) -> u32 {
    event.udata as u32
}

/// A queue of the library.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: OwnedFd,
    watched: Mutex<Watched>,
}

/// What the library is to forget in time.
#[derive(Debug, Default)]
struct Watched {
    /// The duplicates that are watched for writing, by the original.
    duplicates: HashMap<RawFd, OwnedFd>,
    /// The originals, by the number of the duplicate.
    originals: HashMap<RawFd, RawFd>,
}

impl Queue {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Queue> {
        static MAKING: Mutex<()> = Mutex::new(());
        let making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the call has no arguments.
        let fd = cvt(unsafe { library_kqueue() })?;
        drop(making);
        // SAFETY: the library has just made this descriptor for us.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Queue { queue, watched: Mutex::default() })
    }

    /// Makes changes, in order, until one fails. Any thread; never blocks.
    pub(crate) fn apply(&self, changes: &[kevent]) -> io::Result<()> {
        changes.iter().try_for_each(|change| match filter(change) {
            Filter::Write => self.add_for_writing(*change),
            Filter::Read | Filter::User => self.apply_one(change),
        })
    }

    fn apply_one(&self, change: &kevent) -> io::Result<()> {
        let (fd, none, at_once) =
            (self.queue.as_raw_fd(), std::ptr::null_mut(), timespec(Duration::ZERO));
        // SAFETY: the change is valid, and there is no room for events.
        cvt(unsafe { library_kevent(fd, change, 1, none, 0, &at_once) }).map(drop)
    }

    fn add_for_writing(&self, change: kevent) -> io::Result<()> {
        let fd = change.ident as RawFd;
        // SAFETY: whoever adds a descriptor has it open.
        let duplicate = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        let number = duplicate.as_raw_fd();
        let mut watched = self.watched();
        self.apply_one(&kevent { ident: number as usize, ..change })?;
        watched.originals.insert(number, fd);
        let before = watched.duplicates.insert(fd, duplicate);
        assert!(before.is_none(), "a descriptor is added twice");
        Ok(())
    }

    /// Waits for events for at most so long (`None`: for ever); says how many it has put into the
    /// room.
    pub(crate) fn wait(
        &self,
        room: &mut [MaybeUninit<kevent>],
        at_most: Option<Duration>,
    ) -> io::Result<usize> {
        let at_most = at_most.map(timespec);
        let time = at_most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (fd, count) = (self.queue.as_raw_fd(), room.len() as libc::c_int);
        // SAFETY: the room is valid for writing so many events, the time is null or a local.
        let taken = cvt(unsafe {
            library_kevent(fd, std::ptr::null(), 0, room.as_mut_ptr().cast(), count, time)
        })?;
        let watched = self.watched();
        for event in &mut room[..taken as usize] {
            // SAFETY: the library has filled so many events from the front.
            let event = unsafe { event.assume_init_mut() };
            if filter(event) == Filter::Write {
                if let Some(&original) = watched.originals.get(&(event.ident as RawFd)) {
                    event.ident = original as usize;
                }
            }
        }
        Ok(taken as usize)
    }

    /// A descriptor is about to be closed, which is to make the library forget it.
    pub(crate) fn closing(&self, fd: RawFd) {
        let mut watched = self.watched();
        // A filter that was refused is not there to be deleted.
        drop(self.apply_one(&change(fd as usize, Filter::Read, EV_DELETE, 0, 0)));
        if let Some(duplicate) = watched.duplicates.remove(&fd) {
            let number = duplicate.as_raw_fd();
            watched.originals.remove(&number);
            let deleted = self.apply_one(&change(number as usize, Filter::Write, EV_DELETE, 0, 0));
            debug_assert!(deleted.is_ok(), "{deleted:?}");
        }
    }

    /// Forgets a descriptor that stays open: there is no difference.
    pub(crate) fn forget(&self, fd: RawFd) -> io::Result<()> {
        self.closing(fd);
        Ok(())
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
