//! `waitid(2)`: the end of a child process that has a descriptor, as on Linux.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::{Code, Entry, Interest, Keeps, Op, Question, Row, Waits};
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// The end of a child process. (No process has the number of the question.)
///
/// Tried by `a_child_says_how_it_ended`.
pub(super) const ROW: Row = Row {
    question: Question::Entry(|_| wait(abi::id_t::MAX >> 1, abi::WEXITED | abi::WNOHANG)),
    ..Row::new("waitid", 50, "6.7")
};

/// A child that is waited for. It keeps its status, which the kernel tells once, for the next wait.
pub(crate) trait Child: Keeps<ExitStatus> {
    /// The child's number.
    fn pid(&self) -> abi::pid_t;
}

/// Waits for the end of a child. `C` keeps its pidfd open, which is readable then.
pub(crate) struct WaitChild<C> {
    child: C,
    /// What the ring has told. On the heap, since the entry points to it.
    info: Box<abi::siginfo_t>,
    /// What an attempt has told.
    attempted: Option<ExitStatus>,
}

impl<C> WaitChild<C> {
    pub(crate) fn new(child: C) -> WaitChild<C> {
        WaitChild { child, info: Box::new(sys::no_signal()), attempted: None }
    }
}

impl<C: Child> WaitChild<C> {
    /// What the kernel has told.
    fn status(&self) -> ExitStatus {
        self.attempted.unwrap_or_else(|| self.told())
    }

    /// The words of wait(2), made from those of waitid(2).
    fn told(&self) -> ExitStatus {
        // SAFETY: these are the fields of a signal that tells of a child.
        let status = unsafe { self.info.si_status() };
        ExitStatus::from_raw(match self.info.si_code {
            abi::CLD_EXITED => status << 8,
            abi::CLD_DUMPED => status | 0x80,
            _ => status,
        })
    }
}

fn wait(id: abi::id_t, options: i32) -> Entry {
    Entry { len: abi::P_PID, file_index: options as u32, ..ROW.entry(id as i32) }
}

// SAFETY: the entry points to the box, which only this operation has.
unsafe impl<C: Child> Op for WaitChild<C> {
    type Output = io::Result<ExitStatus>;
    const CODE: Code = Code::WaitId;

    fn fd(&self) -> RawFd {
        self.child.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        Waits::ForReadiness
    }

    fn sqe(&mut self) -> Option<Entry> {
        let id = self.child.pid() as abi::id_t;
        Some(Entry { offset: &raw const *self.info as u64, ..wait(id, abi::WEXITED) })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        self.attempted = sys::try_wait_child(self.child.pid())?;
        self.attempted.map(|_| 0).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        result.map(|_| self.status())
    }

    fn discard(self, result: io::Result<u32>) {
        if result.is_ok() {
            self.child.keep(Ok(self.status()));
        }
    }
}
