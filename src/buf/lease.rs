//! A lease: received bytes in a buffer of the core, for as long as somebody has use for them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytes::{Buf, Bytes};

use super::owned::IoBuf;
use super::pool::Buffer;

/// Received bytes that lie in a buffer of the core.
///
/// `recv` gives them out without a copy; they can be sent on as they are, changed in place, and
/// turned into [`Bytes`]. Dropping a lease, on any thread, gives its part of the buffer back. A lease
/// that is kept keeps its whole buffer from being used again, and a core has a limited number of
/// them: what is to be kept for long is better copied. A lease may outlive the runtime.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
///
/// client.write_all("ping").await.0?;
/// let lease = server.recv().await?.expect("the client has not closed");
/// assert_eq!(&lease[..], b"ping");
/// server.write_all(lease).await.0?; // sent from where it was received
/// # Ok(()) }) }
/// ```
pub struct Lease {
    bytes: NonNull<u8>,
    /// Of the type that `lies_in` says. (An enum of both pointers would take a word more, in every
    /// connection and every task that waits for one.)
    memory: NonNull<()>,
    len: u32,
    lies_in: Memory,
}

/// What the bytes lie in. Of four bytes, so that no part of a lease is odd: it is moved at each step
/// from the kernel to the user and back, and a processor that loads what it has stored in other
/// parts waits for it.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Memory {
    /// A [`Buffer`] of the core.
    Pooled,
    /// A `Vec<u8>` of their own, boxed, from when buffers were scarce.
    Heap,
    /// In nothing: there are none.
    Nothing,
}

const _: () = assert!(size_of::<Option<Lease>>() <= 24);

// SAFETY: a lease has its bytes to itself, and what it does to the counts when it is dropped may be
// done on any thread.
unsafe impl Send for Lease {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Lease {}

impl Lease {
    /// # Safety
    /// The bytes must be initialized and in no other lease, and the counts of the buffer and of its
    /// blocks must have been raised for this lease.
    pub(super) unsafe fn new(bytes: NonNull<u8>, len: u32, buffer: NonNull<Buffer>) -> Lease {
        Lease { bytes, memory: buffer.cast(), len, lies_in: Memory::Pooled }
    }

    /// A lease of bytes that lie in no buffer of the core.
    pub(crate) fn from_vec(bytes: Vec<u8>) -> Lease {
        let mut vec = Box::new(bytes);
        let len = u32::try_from(vec.len()).expect("a receive gives less than 4 GiB");
        let bytes = NonNull::from(vec.as_mut_slice()).cast();
        let memory = NonNull::from(Box::leak(vec)).cast();
        Lease { bytes, memory, len, lies_in: Memory::Heap }
    }

    /// A lease of no bytes.
    pub(crate) fn empty() -> Lease {
        let (bytes, memory) = (NonNull::dangling(), NonNull::dangling());
        Lease { bytes, memory, len: 0, lies_in: Memory::Nothing }
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len as usize, "{count} bytes of a lease of {}", self.len);
        // SAFETY: within the lease.
        self.bytes = unsafe { self.bytes.add(count) };
        self.len -= count as u32;
    }

    /// Keeps the first `len` bytes, or all if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Turns the lease into [`Bytes`] without copying them. It stays a lease: see there.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes are initialized, and this lease's alone.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the bytes are initialized, and this lease's alone.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len as usize) }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Buf for Lease {
    fn remaining(&self) -> usize {
        self.len as usize
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, count: usize) {
        Lease::advance(self, count);
    }

    /// All of them are not copied.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        if len == self.remaining() {
            return std::mem::replace(self, Lease::empty()).into_bytes();
        }
        let bytes = Bytes::copy_from_slice(&self[..len]);
        self.advance(len);
        bytes
    }
}

impl From<Lease> for Bytes {
    fn from(lease: Lease) -> Bytes {
        lease.into_bytes()
    }
}

// SAFETY: the bytes lie in a block that neither moves nor goes while the lease lives.
unsafe impl IoBuf for Lease {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len as usize
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.lies_in {
            // SAFETY: this lease's reference keeps the buffer alive until here.
            Memory::Pooled => unsafe { Buffer::give_back(self.memory.cast()) },
            // SAFETY: `from_vec` has leaked this box for this lease.
            Memory::Heap => drop(unsafe { Box::from_raw(self.memory.cast::<Vec<u8>>().as_ptr()) }),
            Memory::Nothing => {}
        }
    }
}
