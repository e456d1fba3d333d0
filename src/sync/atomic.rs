//! The atomics and locks of the cross-thread parts: those of std, or loom's when a model is checked.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    atomic::{AtomicBool, AtomicIsize, AtomicPtr, Ordering},
    Mutex, MutexGuard,
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    atomic::{AtomicBool, AtomicIsize, AtomicPtr, Ordering},
    Mutex, MutexGuard,
};
