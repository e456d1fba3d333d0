//! Moving bytes: relays between connections, and descriptors of any kind.

pub(crate) mod datagram;
mod descriptor;
mod direction;
mod error;
mod feed;
pub(crate) mod file_op;
pub(crate) mod handle;
pub(crate) mod inbound;
pub(crate) mod message;
pub(crate) mod outbound;
mod pipe;
mod pollable;
pub(crate) mod ready;
mod relay;
mod source;
mod stdio;
mod submission;
pub(crate) mod turn;
pub(crate) mod zero_copy;

pub use descriptor::Descriptor;
pub(crate) use error::{incomplete, timed_out};
pub use error::{written, Closed};
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use pollable::Pollable;
pub use relay::{relay, Relay, RelayError, RelayPath, Transferred};
pub use stdio::{stderr, stdin, stdout, Stderr, Stdin, Stdout};
pub(crate) use submission::Submission;

/// The error of a handle that has been closed.
pub(crate) fn closed() -> std::io::Error {
    Closed::error()
}
