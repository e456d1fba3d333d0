//! The table of registered memory, which the kernel has looked up and pinned once and for all.
//!
//! It is made when it is first asked for. A place is taken and given up while the ring works; what
//! the kernel is still busy with keeps its memory pinned whatever becomes of the place.

use std::io;
use std::ptr::NonNull;

use io_uring::IoUring;

use crate::sys;

/// How many pieces of memory a core can have registered.
const PLACES: u32 = 64;

/// The places of the table, once there is one.
#[derive(Default)]
pub(super) struct Fixed {
    free: Option<Vec<u16>>,
}

impl Fixed {
    /// Registers memory: its place, or one sentence why not.
    ///
    /// # Safety
    /// The memory must stay allocated until the place is given up or the ring is closed.
    pub(super) unsafe fn register(
        &mut self,
        ring: &IoUring,
        memory: NonNull<u8>,
        len: usize,
    ) -> Result<u16, String> {
        let free = match &mut self.free {
            Some(free) => free,
            None => {
                // A sparse table is of 5.19: EINVAL before.
                ring.submitter().register_buffers_sparse(PLACES).map_err(|it| reason(&it, 0))?;
                self.free.insert((0..PLACES as u16).rev().collect())
            }
        };
        let Some(&place) = free.last() else {
            return Err(format!("all {PLACES} places of the ring's table are taken"));
        };
        let piece = libc::iovec { iov_base: memory.as_ptr().cast(), iov_len: len };
        // SAFETY: the caller keeps the memory.
        unsafe { update(ring, place, piece) }.map_err(|error| reason(&error, len))?;
        free.pop();
        Ok(place)
    }

    /// Gives a place up.
    pub(super) fn unregister(&mut self, ring: &IoUring, place: u16) {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: no memory is named.
        match unsafe { update(ring, place, nothing) } {
            Ok(()) => self.free.as_mut().expect("who has a place has a table").push(place),
            // The place stays as it is, pinned until the ring is closed, and is not taken again.
            Err(error) => {
                tracing::warn!(target: "ringpark", %error, place, "registered memory stays");
            }
        }
    }
}

/// Puts a piece of memory into a place of the table.
///
/// # Safety
/// The memory must stay allocated until the place is given up or the ring is closed.
unsafe fn update(ring: &IoUring, place: u16, piece: libc::iovec) -> io::Result<()> {
    // SAFETY: the caller keeps the memory; the vector is read before the call returns.
    unsafe { ring.submitter().register_buffers_update(u32::from(place), &[piece], None) }
}

/// What an operator can make of a refusal.
fn reason(error: &io::Error, len: usize) -> String {
    let limit = sys::uring::locked_memory_limit();
    match (error.raw_os_error(), limit) {
        (Some(libc::ENOMEM), Some(limit)) => format!(
            "{error}: the locked-memory limit (RLIMIT_MEMLOCK) is {limit} bytes for all processes \
             of this user, and these need {len} of them beside the rings (ulimit -l)"
        ),
        (Some(libc::EINVAL), _) => {
            format!("{error}: this kernel has no table for them (it takes Linux 5.19)")
        }
        _ => error.to_string(),
    }
}
