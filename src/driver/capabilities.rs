//! What a backend can do, found out when it is opened.

use crate::op::Code;

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Codes(u64);

impl Codes {
    pub(crate) fn has(self, code: Code) -> bool {
        self.0 & 1 << code as u64 != 0
    }

    pub(crate) fn insert(&mut self, code: Code) {
        self.0 |= 1 << code as u64;
    }

    pub(crate) fn remove(&mut self, code: Code) {
        self.0 &= !(1 << code as u64);
    }
}

/// What a backend can do. It stays as it is, so that whoever asks needs nothing but a copy: what a
/// core learns later (that datagrams have no ring of buffers, that the kernel does not tell what it has
/// copied) stands where it is learnt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capabilities {
    /// The operations that there is a ring for.
    pub(super) operations: Codes,
    /// The kernel goes on filling a buffer where the last receive ended.
    pub(crate) fills_on: bool,
    /// What is read from and written to is to be non-blocking: on a ring these operations do not wait for
    /// a descriptor that is. Those of sockets do (they look at `MSG_DONTWAIT`, not at the mode), and so
    /// sockets are non-blocking everywhere, for the calls that the core makes itself.
    pub(crate) wants_nonblocking: bool,
    /// Relays may splice.
    pub(crate) splices: bool,
}

impl Capabilities {
    /// Whether there is a ring that takes this operation.
    pub(crate) fn takes(&self, code: Code) -> bool {
        self.operations.has(code)
    }
}
