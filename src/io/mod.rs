//! Moving bytes: relays between connections, pipes, and descriptors of any kind.

mod connection;
mod descriptor;
pub(crate) mod methods;
mod pipe;
mod relay;
mod stdio;
mod user;

pub use crate::handle::{written, Closed, NotPollable};
pub use connection::Connection;
pub use descriptor::Descriptor;
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use relay::{relay, Relay, RelayError, RelayPath, Transferred};
pub use stdio::{stderr, stdin, stdout, Stderr, Stdin, Stdout};
pub(crate) use user::User;
