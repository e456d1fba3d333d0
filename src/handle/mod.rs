//! The engine of every handle: a descriptor that user handles and operations in flight share.
//!
//! # Who keeps what open
//! The descriptor is closed when the last `Rc<Handle>` goes. User handles hold one each, and so does
//! every operation in flight, in its turn or as the sink of a multishot. When the last *user* handle
//! goes, what is still in flight is asked to end, and the descriptor follows it. So no operation
//! ever names a number that has been closed and opened again.
//!
//! # Directions
//! Reading and writing are separate: each direction has a line (first come, first served) and one
//! operation at a time, which holds the turn. An operation whose future was dropped keeps the turn
//! until the kernel has answered, so that what it still received comes before what is read next.
//!
//! # Closing
//! ```text
//!   open ──close()──▶ closing: nobody may begin, who waits is told Closed, what is in flight is
//!                        │      asked to end
//!                        │ everything in flight is answered
//!                        ▼
//!                     closed: the number is given back to the kernel
//! ```

mod close;
pub(crate) mod datagram;
mod direction;
mod error;
#[allow(clippy::module_inception)]
mod handle;
mod helped;
pub(crate) mod message;
pub(crate) mod permit;
pub(crate) mod ready;
pub(crate) mod recv;
mod recv_queue;
pub(crate) mod send;
mod source;
mod submission;
pub(crate) mod zero_copy;

pub(crate) use close::{close, end_reading, release, Released};
pub(crate) use error::{incomplete, timed_out};
pub use error::{written, Closed};
pub(crate) use handle::Handle;
pub(crate) use submission::Submission;
