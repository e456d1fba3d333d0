//! Moving bytes: relays between connections, and descriptors of any kind.

mod descriptor;
mod error;
mod feed;
pub(crate) mod handle;
pub(crate) mod inbound;
pub(crate) mod message;
pub(crate) mod outbound;
mod pollable;
pub(crate) mod ready;
mod relay;
mod submission;
pub(crate) mod turn;

pub use descriptor::Descriptor;
pub(crate) use error::timed_out;
pub use error::{written, Closed};
pub use pollable::Pollable;
pub use relay::{relay, Relay, RelayError, RelayPath, Transferred};
pub(crate) use submission::Submission;

/// The error of a handle that has been closed.
pub(crate) fn closed() -> std::io::Error {
    Closed::error()
}
