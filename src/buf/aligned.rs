//! A buffer that begins at a multiple of a page, for files that are read past the page cache.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::owned::{IoBuf, IoBufMut};

/// What direct I/O wants of addresses, positions and lengths at most, on disks of today.
pub(super) const ALIGNMENT: usize = 4096;

/// A buffer of a fixed size whose memory begins at a multiple of 4096 bytes, as direct I/O wants it
/// ([`OpenOptions::direct`](crate::fs::OpenOptions::direct)).
///
/// It holds as many bytes as the last read has filled, and dereferences to those.
///
/// ```
/// use ringpark::buf::AlignedBuf;
/// let mut buffer = AlignedBuf::new(8192);
/// assert_eq!(buffer.as_ptr() as usize % 4096, 0);
/// assert_eq!((buffer.len(), buffer.capacity()), (0, 8192));
/// buffer.copy_from(b"what is to be written");
/// assert_eq!(&buffer[..4], b"what");
/// ```
pub struct AlignedBuf {
    memory: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its memory, like a vector.
unsafe impl Send for AlignedBuf {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer with room for so many bytes.
    ///
    /// # Panics
    /// Without room for one byte.
    pub fn new(capacity: usize) -> AlignedBuf {
        assert!(capacity > 0, "a buffer for nothing");
        let layout = AlignedBuf::layout(capacity);
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        AlignedBuf { memory, len: 0, capacity }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("a buffer has a sane size")
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Lets the buffer hold a copy of these bytes.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        super::write_front(self, bytes);
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes are initialized, and this buffer's alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

// SAFETY: the memory is on the heap and moves never; it is zeroed from the beginning.
unsafe impl IoBuf for AlignedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn bytes_total(&self) -> usize {
        self.capacity
    }
}

// SAFETY: the buffer owns `capacity` bytes. Noting a length touches none of them.
unsafe impl IoBufMut for AlignedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_ptr()
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.capacity);
        self.len = n;
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, in `new`.
        unsafe { dealloc(self.memory.as_ptr(), AlignedBuf::layout(self.capacity)) };
    }
}
