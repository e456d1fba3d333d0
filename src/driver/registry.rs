//! The ring's table of registered memory, as pools of buffers see it.

use std::ptr::NonNull;

use super::Driver;
use crate::buf::Registry;

impl Registry for Driver {
    unsafe fn register(&mut self, memory: NonNull<u8>, len: usize) -> Result<Option<u16>, String> {
        // SAFETY: as the caller vouches.
        unsafe { self.register_buffers(memory, len) }
    }

    fn unregister(&mut self, index: u16) {
        self.unregister_buffers(index);
    }
}
