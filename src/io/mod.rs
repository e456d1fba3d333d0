//! Moving bytes: relays between connections, pipes, and descriptors of any kind.
//!
//! The futures of their methods have names, in [`futures`].

mod connection;
mod descriptor;
pub mod futures;
pub(crate) mod methods;
mod pipe;
mod relay;
mod stdio;

pub use crate::handle::{written, Closed, NotPollable};
pub use connection::Connection;
pub use descriptor::Descriptor;
pub(crate) use methods::User;
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use relay::{relay, Relay, RelayError, RelayPath, Transferred};
pub use stdio::{stderr, stdin, stdout, Stderr, Stdin, Stdout};
