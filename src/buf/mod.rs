//! Buffers that can be lent to the kernel, and the ones that the kernel picks.
//!
//! A completion-based read or write goes on in the kernel while your task is parked, or after its
//! future was dropped. A borrowed `&mut [u8]` cannot promise to live that long, so ringpark takes
//! the buffer by value and gives it back with the result:
//!
//! ```text
//!   your task            runtime                      kernel
//!   ─────────            ───────                      ──────
//!   buf ───────────────▶ operation owns buf ─────────▶ reads or writes its memory
//!                        (future dropped? it still does)
//!   (result, buf) ◀───── gives it back ◀───────────── final completion
//! ```
//!
//! Two kinds of buffers take part:
//! - **Owned buffers**, anything that implements [`IoBuf`] (for writing) or [`IoBufMut`] (for
//!   reading): `Vec<u8>`, `Box<[u8]>`, [`Bytes`](bytes::Bytes), [`BytesMut`](bytes::BytesMut), static slices, and any part of one
//!   of them as a [`Slice`].
//! - **Leased buffers**, [`Lease`]: `recv()` takes memory from the core's pool only when there are
//!   bytes to put into it, so that an idle connection holds no buffer at all.
//!
//! Of owned buffers there are two for files: [`AlignedBuf`], for direct I/O, and those of a
//! [`FixedPool`], whose memory the ring knows.

mod aligned;
mod fixed;
mod lease;
mod lent;
mod owned;
#[cfg(target_os = "linux")]
mod pipes;
mod pool;
mod registration;
mod slice;

pub use aligned::AlignedBuf;
pub use fixed::{FixedBuf, FixedPool};
pub use lease::Lease;
pub(crate) use lent::Lent;
pub use lent::ZeroCopy;
pub(crate) use owned::write_front;
pub use owned::{IoBuf, IoBufMut};
#[cfg(target_os = "linux")]
pub(crate) use pipes::{Pipes, PooledPipe, PIPE_SIZE};
pub(crate) use pool::{BufferRing, Pool, PoolConfig};
pub(crate) use registration::Registry;
pub use slice::Slice;

pub use crate::completion::Usage;

/// What becomes of an operation that takes a buffer: its result, and the buffer, which comes back
/// whether it went well or not. `.0?` is for whoever has no more use for the buffer, and
/// `let (result, buffer) = ...` for who has.
pub type BufResult<T, B> = (std::io::Result<T>, B);

#[cfg(test)]
mod tests;
