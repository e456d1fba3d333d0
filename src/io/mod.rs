//! Moving bytes: relays between connections, pipes, and descriptors of any kind.

mod descriptor;
mod pipe;
mod pollable;
mod relay;
mod stdio;

pub use crate::handle::{written, Closed, NotPollable};
pub use descriptor::Descriptor;
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use pollable::Pollable;
pub use relay::{relay, Relay, RelayError, RelayPath, Transferred};
pub use stdio::{stderr, stdin, stdout, Stderr, Stdin, Stdout};
