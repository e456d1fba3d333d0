//! How an operation may wait, and the call of one that waits for a disk.

use std::io;

use crate::sys::Transfer;

/// How an operation may wait, where its attempt says `WouldBlock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits {
    /// It never says so.
    Never,
    /// Until its descriptor is ready: then it is attempted again.
    ForReadiness,
    /// For a disk, which is never ready, and always polls as if it were: on the ring, or in a call
    /// that a helper thread makes.
    ForDisk,
}

/// The system call of an operation, which may wait, for a helper thread to make.
pub(crate) struct Call(Box<dyn FnOnce() -> io::Result<u32> + Send>);

impl Call {
    /// The call may use whatever the operation owns, on the terms of [`Op`](super::Op): it is made
    /// while the operation is kept.
    pub(crate) fn new(call: impl FnOnce() -> io::Result<u32> + Send + 'static) -> Call {
        Call(Box::new(call))
    }

    /// The call that reads or writes the operation's memory.
    pub(super) fn transfer(transfer: Transfer) -> Call {
        // SAFETY: what it describes is the operation's, which is kept until this is over: see `make`.
        Call::new(move || unsafe { transfer.run() })
    }

    /// Makes the call, which goes on by itself where it is interrupted.
    ///
    /// # Safety
    /// The operation that it comes from must not be let go of until this returns.
    pub(crate) unsafe fn make(self) -> io::Result<u32> {
        (self.0)()
    }
}
