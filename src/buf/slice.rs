//! A part of an owned buffer, so that `write_all` can go on where a short write stopped, and a
//! read can append instead of overwriting.

use super::owned::{IoBuf, IoBufMut};
use super::registration::Registration;
use std::fmt;
use std::ops::{Bound, Deref, DerefMut, RangeBounds};

/// A part of a buffer, made by [`IoBuf::slice`]. It owns the whole buffer, and
/// [`into_inner`](Slice::into_inner) gives it back.
///
/// - Writing sends the initialized bytes within the range.
/// - Reading fills the range from its start, as far as the buffer has room. What stands before the
///   range is kept. A buffer with a length (a `Vec<u8>`) ends behind the last byte that was read,
///   as it does without a slice.
///
/// It dereferences to the initialized bytes within the range.
///
/// ```
/// use ringpark::buf::IoBuf;
///
/// let mut part = b"0123456789".to_vec().slice(2..8);
/// assert_eq!(&part[..], b"234567");
/// part[0] = b'_';
///
/// // A slice can be sliced: the positions are those of the outer one.
/// let inner = part.slice(1..=2);
/// assert_eq!(&inner[..], b"34");
/// assert_eq!(inner.into_inner().into_inner(), b"01_3456789");
/// ```
pub struct Slice<B> {
    buf: B,
    /// At most `buf.bytes_init()`, now and after any `set_init` through this slice.
    begin: usize,
    /// At most `buf.bytes_total()`; `usize::MAX` if the range had no end.
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buf: B, range: impl RangeBounds<usize>) -> Slice<B> {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&before) => before.checked_add(1).expect("the range begins too far on"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1).expect("the range ends too far on"),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        let (init, total) = (buf.bytes_init(), buf.bytes_total());
        assert!(begin <= init, "a slice from {begin} on of a buffer with {init} bytes in it");
        assert!(begin <= end, "a slice from {begin} to {end}");
        let within = end <= total || end == usize::MAX;
        assert!(within, "a slice up to {end} of a buffer with room for {total} bytes");
        Slice { buf, begin, end }
    }
}

impl<B> Slice<B> {
    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// The whole buffer, to look at.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// Where in the buffer the slice begins.
    pub fn begin(&self) -> usize {
        self.begin
    }
}

// SAFETY: the buffer keeps its promises, and the slice answers with a part of that: `begin` is
// within the initialized bytes (checked when it was made, kept up by `set_init`), so the pointer
// is within the buffer, and `bytes_init` of it are left from there on.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is at most `bytes_init`, hence within the buffer's memory.
        unsafe { self.buf.stable_ptr().add(self.begin) }
    }

    fn bytes_init(&self) -> usize {
        self.buf.bytes_init().min(self.end) - self.begin
    }

    fn bytes_total(&self) -> usize {
        self.buf.bytes_total().min(self.end) - self.begin
    }

    fn registration(&self) -> Option<Registration> {
        self.buf.registration()
    }
}

// SAFETY: as for `IoBuf`, with the buffer's room in place of its initialized bytes.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is at most `bytes_init`, hence within the buffer's memory.
        unsafe { self.buf.stable_mut_ptr().add(self.begin) }
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.bytes_total(), "{n} bytes in a slice of {}", self.bytes_total());
        // SAFETY: the first `begin` bytes were initialized when the slice was made and nothing
        // takes that back; the caller promises the same of `n` further ones, and that they are
        // within the slice's room, which is within the buffer's.
        unsafe { self.buf.set_init(self.begin + n) }
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<B: IoBufMut> DerefMut for Slice<B> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.bytes_init();
        // SAFETY: these bytes are initialized and writable, and the exclusive borrow of `self`
        // says that nobody else uses them.
        unsafe { std::slice::from_raw_parts_mut(self.stable_mut_ptr(), len) }
    }
}

/// Shows where the slice is, not the bytes: those may be many, and none of a log's business.
impl<B: IoBuf> fmt::Debug for Slice<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("begin", &self.begin)
            .field("bytes_init", &self.bytes_init())
            .field("bytes_total", &self.bytes_total())
            .finish()
    }
}
