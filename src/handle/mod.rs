//! The engine of every handle: a descriptor that user handles and operations in flight share, and the
//! ways to wait for it.
//!
//! # Who keeps what open
//! The descriptor is closed when the last `Rc<Handle>` goes. User handles hold one each, and so does
//! every operation in flight, in its permit or as the sink of a multishot. When the last *user* handle
//! goes, what is still in flight is asked to end, and the descriptor follows it. So no operation
//! ever names a number that has been closed and opened again.
//!
//! # Directions
//! Reading and writing are separate. Each direction has one permit, which is taken first come, first
//! served, and one operation at a time, which holds the permit. An operation whose future was dropped
//! keeps the permit until the kernel has answered, so that what it still received comes before what is
//! read next. What has been received and not taken stands in the handle's receive queue.
//!
//! # Waiting
//! Whoever waits in a direction does so by `Handle::poll_until`: a closed handle or a deadline that has
//! passed refuses, else what is waited for is looked at, and if it is not there the task is woken when
//! it may be, when the handle is closed, and at the deadline.
//!
//! # Closing
//! ```text
//!   open ──close()──▶ closing: nobody may begin, who waits is told Closed, what is in flight is
//!                        │      asked to end
//!                        │ everything in flight is answered
//!                        ▼
//!                     closed: the number is given back to the kernel
//! ```
//!
//! # The files
//! | file | what it is |
//! | --- | --- |
//! | `handle` | the handle itself, its two directions, their deadlines, `poll_until` |
//! | `permit` | waiting for a permit; the operation of whoever has it |
//! | `submission` | the future of one kernel operation, with a handle or without |
//! | `chunk`, `recv_queue` | what was received and not read; the queue that it stands in |
//! | `refill` | multishot receives into that queue, and the wait for a buffer |
//! | `recv`, `send`, `zero_copy` | bytes of a stream |
//! | `datagram`, `message` | datagrams; what goes with addresses or descriptors |
//! | `accept` | connections of a socket that listens |
//! | `ready` | readiness, for closures that make their own calls |
//! | `close` | the end: closed, or let go of for another core |
//! | `helped` | operations that a helper thread does, since they may wait for a disk |
//! | `error` | errors that a caller acts on |

pub(crate) mod accept;
mod chunk;
mod close;
pub(crate) mod datagram;
mod error;
#[allow(clippy::module_inception)]
mod handle;
mod helped;
pub(crate) mod message;
pub(crate) mod permit;
pub(crate) mod ready;
pub(crate) mod recv;
mod recv_queue;
mod refill;
pub(crate) mod send;
mod submission;
pub(crate) mod zero_copy;

pub use crate::driver::NotPollable;
pub(crate) use chunk::{Chunk, IoHandle};
pub(crate) use close::{close, release, Released};
pub(crate) use error::{incomplete, timed_out};
pub use error::{written, Closed};
pub(crate) use handle::Handle;
pub(crate) use submission::Submission;
