//! Pools of registered buffers are made for the core that this thread runs.

use std::cell::RefCell;
use std::io;

use super::core::Core;
use crate::buf::{FixedPool, Registry};

impl AsRef<RefCell<dyn Registry>> for Core {
    fn as_ref(&self) -> &RefCell<dyn Registry + 'static> {
        &self.driver
    }
}

impl FixedPool {
    /// So many buffers of `size` bytes each, registered if possible.
    ///
    /// # Errors
    /// `InvalidInput` for no buffers, for buffers of no bytes, and for more than 1 GiB in all.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(count: usize, size: usize) -> io::Result<FixedPool> {
        FixedPool::with_registrar(count, size, Core::current())
    }
}
