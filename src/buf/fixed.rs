//! Buffers in memory that is registered with the core's ring.
//!
//! ```text
//!   FixedPool ── one piece of memory, one index in the ring's table
//!     ├─ buffer 0 ─┬─ buffer 1 ─┬─ ...      each begins at a multiple of 4096
//!     take() ─▶ FixedBuf ──dropped──▶ free again
//! ```
//! The kernel looks up and pins a registered buffer once, and not for each operation. Pool, buffers
//! and operations share the memory, and the last of them gives it up: so nothing that the kernel
//! works on is ever taken out of the table, and its memory lives as long.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use super::aligned::{AlignedBuf, ALIGNMENT};
use super::owned::{write_front, IoBuf, IoBufMut};
use super::registration::{Registrar, Registration};

/// The most that the kernel registers as one piece.
const BYTES_MAX: usize = 1 << 30;

/// A fixed number of buffers in memory that is registered with the core's io_uring, for files that
/// are read and written often, above all past the page cache: the kernel then needs not look up
/// and pin the memory of each operation (`IORING_OP_READ_FIXED`; the table is of Linux 5.19).
///
/// [`File::read_at`](crate::fs::File::read_at), `write_at` and those that go on until all is done use
/// the registration by themselves, on files of the same core. For everything else, on other
/// backends, and where the kernel refuses to register the memory (the locked-memory limit, above
/// all), these are buffers like any other; the refusal is logged with its reason, and
/// [`is_registered`](FixedPool::is_registered) tells of it.
///
/// Each buffer begins at a multiple of 4096 bytes, as direct I/O wants it
/// ([`OpenOptions::direct`](crate::fs::OpenOptions::direct)). The pool and its buffers stay on their
/// core. Dropping the pool leaves buffers that are in use as they are; the memory goes with the last
/// of them. After the end of the runtime they are plain memory.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::{buf::FixedPool, fs::File};
/// let pool = FixedPool::new(32, 4096)?; // for 32 reads at a time
/// let file = File::open("/proc/self/exe").await?;
/// let buffer = pool.take().expect("31 others are free");
/// let (result, buffer) = file.read_at(buffer, 0).await;
/// assert_eq!((result?, &buffer[1..4]), (4096, &b"ELF"[..]));
/// drop(buffer); // it goes back to the pool
/// # Ok(()) }) }
/// ```
pub struct FixedPool {
    set: Rc<Set>,
}

/// What the pool and its buffers share.
struct Set {
    registrar: Rc<Registrar>,
    memory: NonNull<u8>,
    /// Owns the memory; it is touched through the pointer only.
    _owner: AlignedBuf,
    size: usize,
    count: usize,
    /// The buffers that nobody has, the one to take next last.
    free: RefCell<Vec<usize>>,
    /// The index of the memory in the ring's table, if it is there.
    registered: Option<u16>,
}

impl FixedPool {
    /// So many buffers of `size` bytes each, registered with the ring of `registrar` if possible.
    pub(crate) fn with_registrar(
        count: usize,
        size: usize,
        registrar: Rc<Registrar>,
    ) -> io::Result<FixedPool> {
        let total = size.checked_next_multiple_of(ALIGNMENT).and_then(|it| it.checked_mul(count));
        let total = total.filter(|total| (1..=BYTES_MAX).contains(total)).ok_or_else(|| {
            let what = format!(
                "{count} buffers of {size} bytes cannot be registered: it takes one byte at least, \
                 and {BYTES_MAX} in all at most"
            );
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        let mut owner = AlignedBuf::new(total);
        let memory = NonNull::new(owner.stable_mut_ptr()).expect("memory has an address");
        // SAFETY: the set owns the memory, and takes it out of the table before it lets go of it.
        let registered = unsafe { (*registrar).as_ref().borrow_mut().register(memory, total) };
        let registered = match registered {
            Ok(index) => index,
            Err(reason) => {
                tracing::warn!(target: "ringpark", bytes = total, reason, "buffers not registered");
                None
            }
        };
        let free = RefCell::new((0..count).rev().collect());
        let set = Set { registrar, memory, _owner: owner, size, count, free, registered };
        Ok(FixedPool { set: Rc::new(set) })
    }

    /// A buffer that nobody has, empty; `None` if all are in use. Dropping it gives it back.
    pub fn take(&self) -> Option<FixedBuf> {
        let index = self.set.free.borrow_mut().pop()?;
        Some(FixedBuf { set: self.set.clone(), index, len: 0 })
    }

    /// How many buffers nobody has.
    pub fn available(&self) -> usize {
        self.set.free.borrow().len()
    }

    /// Whether the ring knows the memory; never on a backend without rings.
    pub fn is_registered(&self) -> bool {
        self.set.registered.is_some()
    }
}

impl fmt::Debug for FixedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedPool")
            .field("count", &self.set.count)
            .field("size", &self.set.size)
            .field("available", &self.available())
            .field("is_registered", &self.is_registered())
            .finish()
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        debug_assert_eq!(self.free.get_mut().len(), self.count, "a buffer outlives its memory");
        if let Some(index) = self.registered {
            (*self.registrar).as_ref().borrow_mut().unregister(index);
        }
    }
}

/// One buffer of a [`FixedPool`]: see there. It holds as many bytes as the last read has filled, and
/// dereferences to those. Dropping it gives it back to the pool.
pub struct FixedBuf {
    set: Rc<Set>,
    index: usize,
    len: usize,
}

impl FixedBuf {
    fn memory(&self) -> NonNull<u8> {
        let stride = self.set.size.next_multiple_of(ALIGNMENT);
        // SAFETY: the set has memory for `count` such strides, and the index is below `count`.
        unsafe { self.set.memory.add(self.index * stride) }
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.set.size
    }

    /// Lets the buffer hold a copy of these bytes.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        write_front(self, bytes);
    }
}

impl Drop for FixedBuf {
    fn drop(&mut self) {
        self.set.free.borrow_mut().push(self.index);
    }
}

impl Deref for FixedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for FixedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes are initialized, and this buffer's alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory().as_ptr(), self.len) }
    }
}

impl fmt::Debug for FixedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

// SAFETY: the set's memory is on the heap, moves never, and lives as long as the buffer, which holds
// a share; it is zeroed from the beginning. Nobody else has the same index: `take` takes it out of
// the free ones, `drop` puts it back.
unsafe impl IoBuf for FixedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.memory().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn bytes_total(&self) -> usize {
        self.set.size
    }

    fn registration(&self) -> Option<Registration> {
        self.set.registered.map(|index| Registration::new(&self.set.registrar, index))
    }
}

// SAFETY: `size` bytes are this buffer's alone. Noting a length touches none of them.
unsafe impl IoBufMut for FixedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory().as_ptr()
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.set.size);
        self.len = n;
    }
}
