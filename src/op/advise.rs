//! `posix_fadvise(2)`: what is going to be done with a file.
//!
//! Most advice is a mark on the open file. Only what is to be read ahead or let go of may wait for the
//! disk, and only that goes to the ring.

use std::io;

use super::{Call, Code, Entry, Interest, KeepsOpen, Op, Row, Waits};
use crate::sys::fd::RawFd;
use crate::sys::{self, advice};

/// What is going to be done with a file.
///
/// Tried by `advice_on_a_file_is_taken_whole_and_changes_no_byte`.
pub(super) const ROW: Row = Row::new("fadvise", 24, "5.6");

/// Gives advice on a range of a file. `K` keeps the file open.
pub(crate) struct Advise<K> {
    file: K,
    at: u64,
    len: u64,
    /// One of [`advice`].
    advice: i32,
}

impl<K> Advise<K> {
    /// A length of 0 is all that follows. `InvalidInput` if the range ends further out than the kernel
    /// counts.
    pub(crate) fn new(file: K, at: u64, len: u64, advice: i32) -> io::Result<Advise<K>> {
        match at.checked_add(len) {
            Some(0..=sys::POSITION_MAX) => Ok(Advise { file, at, len, advice }),
            _ => {
                let message = "the advice is on bytes beyond the end of any file";
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
        }
    }
}

// SAFETY: neither entry nor call points to anything.
unsafe impl<K: KeepsOpen> Op for Advise<K> {
    type Output = io::Result<()>;
    const CODE: Code = Code::Advise;

    fn fd(&self) -> RawFd {
        self.file.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForDisk
    }

    /// A range that 32 bits do not tell is a helper thread's. Newer kernels take its length in `address`, and
    /// those before them refuse that with EINVAL: <https://git.kernel.org/torvalds/c/3b87184f7eff>.
    fn sqe(&mut self) -> Option<Entry> {
        let len = u32::try_from(self.len).ok()?;
        let op_flags = self.advice as u32;
        Some(Entry { offset: self.at, len, op_flags, ..ROW.entry(self.fd()) })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        match self.advice {
            advice::WILL_NEED | advice::DONT_NEED => Err(io::ErrorKind::WouldBlock.into()),
            _ => sys::advise(self.fd(), self.at, self.len, self.advice),
        }
    }

    fn call(&mut self) -> Call {
        let (fd, at, len, advice) = (self.fd(), self.at, self.len, self.advice);
        Call::new(move || sys::advise(fd, at, len, advice))
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        result.map(drop)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use io_uring::{opcode, squeue, types};

    use super::*;

    struct Seven;

    impl KeepsOpen for Seven {
        fn fd(&self) -> RawFd {
            7
        }
    }

    fn entry(at: u64, len: u64) -> Option<Entry> {
        Advise::new(Seven, at, len, advice::DONT_NEED).expect("files are as long as that").sqe()
    }

    #[test]
    fn its_entry_is_that_of_the_io_uring_crate() {
        for (at, len) in [(0, 0), (1 << 40, u32::MAX)] {
            let theirs = opcode::Fadvise::new(types::Fd(7), len as libc::off_t, advice::DONT_NEED);
            let theirs = theirs.offset(at).build();
            // SAFETY: both are the same 64 bytes, all of which may be anything.
            let theirs = unsafe { std::mem::transmute::<squeue::Entry, Entry>(theirs) };
            assert_eq!(entry(at, len.into()), Some(theirs));
        }
    }

    #[test]
    fn a_length_that_the_entry_has_no_room_for_is_not_cut() {
        assert_eq!(entry(0, 1 << 32), None);
        assert_eq!(entry(0, sys::POSITION_MAX), None);
    }

    #[test]
    fn a_range_that_no_kernel_counts_to_is_refused() {
        const END: u64 = sys::POSITION_MAX;
        assert!(Advise::new(Seven, END, 0, advice::NORMAL).is_ok());
        for (at, len) in [(END + 1, 0), (0, END + 1), (END, 1), (u64::MAX, u64::MAX)] {
            let refused = Advise::new(Seven, at, len, advice::NORMAL).map(drop);
            assert_eq!(refused.expect_err("too far").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
