//! Memory that a ring knows: who keeps the table of it, and what a buffer tells of its own.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

/// A table of memory that the kernel knows, if there is one: the ring's. A core has one, and a pool
/// keeps the core alive to take its memory out again.
pub(crate) trait Registry {
    /// Registers memory, if there is a ring: its index in the table. An error says why it cannot be.
    ///
    /// # Safety
    /// The memory must stay allocated until it has been unregistered, or the registry is gone.
    unsafe fn register(&mut self, memory: NonNull<u8>, len: usize) -> Result<Option<u16>, String>;

    /// Takes what has this index out of the table.
    fn unregister(&mut self, index: u16);
}

/// Whoever has a registry: a core.
pub(crate) type Registrar = dyn AsRef<RefCell<dyn Registry>>;

/// Where memory is registered. (Public only in the eyes of the compiler.)
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// Whose ring it is: it lives as long as the memory is registered, and is only ever compared.
    registrar: *const (),
    index: u16,
}

impl Registration {
    /// Memory that is in the table of this registrar.
    pub(super) fn new(registrar: &Rc<Registrar>, index: u16) -> Registration {
        Registration { registrar: Rc::as_ptr(registrar).cast(), index }
    }

    /// The index in the table of this registrar, if that is where the memory is.
    pub(crate) fn with<R>(self, registrar: &Rc<R>) -> Option<u16> {
        std::ptr::addr_eq(self.registrar, Rc::as_ptr(registrar)).then_some(self.index)
    }
}
