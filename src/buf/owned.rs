//! Owned buffers: what a write takes and what a read takes, and the types of std and of the crate `bytes`
//! that are both or one of them.

use std::ops::RangeBounds;

use bytes::{Bytes, BytesMut};

use super::registration::Registration;
use super::slice::Slice;

/// A buffer whose bytes the kernel may read: what a write takes.
///
/// ```
/// use ringpark::buf::IoBuf;
///
/// let message = String::from("hello, world");
/// assert_eq!(message.as_slice(), b"hello, world");
///
/// let world = message.slice(7..);
/// assert_eq!(world.as_slice(), b"world");
/// assert_eq!(world.into_inner(), "hello, world");
/// ```
///
/// # Safety
///
/// While the value is only moved, and not otherwise used through a mutable reference, until it is
/// dropped:
/// - [`stable_ptr`](Self::stable_ptr), [`bytes_init`](Self::bytes_init) and
///   [`bytes_total`](Self::bytes_total) answer the same each time. In particular the bytes are
///   not stored in the value itself (an array), since moving it would move them.
/// - `bytes_init()` bytes from `stable_ptr()` on are initialized and valid for reads, and nobody
///   writes to them.
/// - `bytes_init()` is not greater than `bytes_total()`.
pub unsafe trait IoBuf: 'static {
    /// Where the bytes begin. It stays there while the value is moved.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes from the start are initialized, and so how many a write sends.
    fn bytes_init(&self) -> usize;

    /// How many bytes the buffer has room for, initialized or not.
    ///
    /// A buffer that cannot be read into has room for exactly what is in it.
    fn bytes_total(&self) -> usize {
        self.bytes_init()
    }

    /// The initialized bytes.
    fn as_slice(&self) -> &[u8] {
        // SAFETY: the implementor promises that these bytes are initialized, readable and not
        // written to; the shared borrow of `self` keeps them so for the life of the slice.
        unsafe { std::slice::from_raw_parts(self.stable_ptr(), self.bytes_init()) }
    }

    /// Where the memory is registered with a ring: for buffers of a [`FixedPool`], and for what is
    /// made of them.
    #[doc(hidden)]
    fn registration(&self) -> Option<Registration> {
        None
    }

    /// A part of the buffer, to be written or read into in its stead.
    ///
    /// Without an end the part goes on to the end of the initialized bytes for a write, and to the
    /// end of the room for a read.
    ///
    /// ```
    /// use ringpark::buf::IoBuf;
    ///
    /// let line = b"PING\r\n".to_vec().slice(..4);
    /// assert_eq!(&line[..], b"PING");
    /// ```
    ///
    /// # Panics
    ///
    /// If the range begins behind the initialized bytes (reading there would leave a gap of bytes
    /// that were never written), ends behind the room, or ends before it begins.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// A buffer whose memory the kernel may write: what a read takes.
///
/// A read fills the buffer from its start and then calls [`set_init`](Self::set_init) with the
/// number of bytes it read. For a `Vec<u8>` that means: reading overwrites what was in it, as far
/// as its *capacity* goes, and afterwards it holds exactly what was read. To keep what is there
/// and read behind it, lend the part that follows, `buf.slice(len..)`.
///
/// ```
/// use ringpark::buf::{IoBuf, IoBufMut};
///
/// // What a read of 3 bytes does.
/// fn read_abc<B: IoBufMut>(mut buf: B) -> B {
///     assert!(buf.bytes_total() >= 3);
///     // SAFETY: there is room for 3 bytes, and then 3 bytes have been written.
///     unsafe {
///         buf.stable_mut_ptr().copy_from_nonoverlapping(b"abc".as_ptr(), 3);
///         buf.set_init(3);
///     }
///     buf
/// }
///
/// let buf = read_abc(Vec::with_capacity(10));
/// assert_eq!(buf, b"abc");
/// let buf = read_abc(buf.slice(2..)).into_inner();
/// assert_eq!(buf, b"ababc");
/// ```
///
/// # Safety
///
/// In addition to what [`IoBuf`] asks: while the value is only moved,
/// - [`stable_mut_ptr`](Self::stable_mut_ptr) is the address that `stable_ptr` has, and changes
///   nothing about the buffer;
/// - `bytes_total()` bytes from there on are valid for reads and writes, and nobody else reads or
///   writes them;
/// - `set_init(n)` neither moves the memory nor changes bytes of the first `n`.
pub unsafe trait IoBufMut: IoBuf {
    /// Where the memory begins. It stays there while the value is moved.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// Says that the first `n` bytes are initialized now, and that they are what the buffer holds.
    ///
    /// Buffers without a length of their own (`Box<[u8]>`) are always initialized as a whole, and
    /// for those this does nothing: the result of the read says how many bytes are new.
    ///
    /// # Safety
    ///
    /// `n` is not greater than `bytes_total()`, and the first `n` bytes are initialized.
    unsafe fn set_init(&mut self, n: usize);
}

/// Copies `bytes` to the front of a buffer, which has room for them.
pub(crate) fn write_front<B: IoBufMut>(buffer: &mut B, bytes: &[u8]) {
    assert!(bytes.len() <= buffer.bytes_total());
    // SAFETY: there is room for the bytes, which lie elsewhere, and then they are initialized.
    unsafe {
        buffer.stable_mut_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        buffer.set_init(bytes.len());
    }
}

// SAFETY: the bytes of a vector are on the heap (or, without capacity, nowhere, behind a dangling
// pointer that is good for zero bytes), and move only when the vector is mutated.
unsafe impl IoBuf for Vec<u8> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: the vector owns `capacity` bytes from its pointer on. `set_len` touches none of them.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.capacity(), "{n} bytes in a vector of {}", self.capacity());
        // SAFETY: the caller promises that there is room for `n` bytes and that they are
        // initialized.
        unsafe { self.set_len(n) }
    }
}

// SAFETY: the bytes of a boxed slice are on the heap, all initialized, and never move.
unsafe impl IoBuf for Box<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: the box owns its bytes. They are always initialized, so there is nothing to note.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "{n} bytes in a box of {}", self.len());
    }
}

// SAFETY: `Bytes` points to shared memory that is never written and lives as long as any handle.
unsafe impl IoBuf for Bytes {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: `BytesMut` points to heap memory, and moves it only when it is mutated.
unsafe impl IoBuf for BytesMut {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: a `BytesMut` is the only handle to its `capacity` bytes, also if it was split off
// another one. `set_len` touches none of them.
unsafe impl IoBufMut for BytesMut {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.capacity(), "{n} bytes in a buffer of {}", self.capacity());
        // SAFETY: the caller promises that there is room for `n` bytes and that they are
        // initialized.
        unsafe { self.set_len(n) }
    }
}

// SAFETY: static memory neither moves nor ends, and behind a shared reference nobody writes to it.
unsafe impl IoBuf for &'static [u8] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as for `&'static [u8]`.
unsafe impl IoBuf for &'static str {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: a string is a `Vec<u8>`. (It cannot be read into: the bytes might not be UTF-8.)
unsafe impl IoBuf for String {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}
