//! Descriptors, by one name on all systems: whatever is above `sys` names them from here.
//!
//! On Unix they are std's own. Where a system has handles instead, or a simulation has neither, what stands
//! here is theirs.

pub(crate) use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
