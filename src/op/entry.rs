//! What is asked of a ring: an entry of its submission queue, `struct io_uring_sqe`.
//!
//! It is described here on every system, so that operations need not know which of them have rings. What
//! a field means depends on the opcode: the manual page of `io_uring_enter` tells of most, and a test holds
//! every entry that an operation makes to that of the io-uring crate.

use crate::sys::fd::RawFd;

/// An entry. Making one asks for nothing; whoever submits it vouches for what it points to.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) opcode: u8,
    /// Of the `IOSQE_*`: about every entry.
    pub(crate) flags: u8,
    /// Flags of receives, sends and accepts.
    pub(crate) ioprio: u16,
    pub(crate) fd: i32,
    /// Where in the file, a second address, or a length.
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) len: u32,
    /// Flags of the opcode's own.
    pub(crate) op_flags: u32,
    /// What its completions carry back: the driver's.
    pub(crate) user_data: u64,
    /// A place in the table of registered memory, or a group of buffers.
    pub(crate) buffer: u16,
    pub(crate) personality: u16,
    pub(crate) file_index: u32,
    pub(crate) address3: u64,
    pub(crate) reserved: u64,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// `IOSQE_BUFFER_SELECT`: the kernel chooses a buffer of the group `buffer`.
pub(crate) const BUFFER_SELECT: u8 = 1 << 5;

impl Entry {
    pub(crate) const fn new(opcode: u8, fd: RawFd) -> Entry {
        Entry {
            opcode,
            fd,
            flags: 0,
            ioprio: 0,
            offset: 0,
            address: 0,
            len: 0,
            op_flags: 0,
            user_data: 0,
            buffer: 0,
            personality: 0,
            file_index: 0,
            address3: 0,
            reserved: 0,
        }
    }

    /// What it points to, and how long that is, in whatever the opcode counts.
    pub(crate) fn memory<T>(self, memory: *const T, len: usize) -> Entry {
        debug_assert!(u32::try_from(len).is_ok());
        Entry { address: memory as u64, len: len as u32, ..self }
    }

    pub(crate) fn user_data(self, user_data: u64) -> Entry {
        Entry { user_data, ..self }
    }
}

#[cfg(target_os = "linux")]
impl From<Entry> for io_uring::squeue::Entry {
    fn from(entry: Entry) -> io_uring::squeue::Entry {
        // SAFETY: both are the same 64 bytes, as the kernel reads them, all of which may be anything.
        unsafe { std::mem::transmute::<Entry, io_uring::squeue::Entry>(entry) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
