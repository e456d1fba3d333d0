//! Tasks: the cell that holds one, the handle that awaits it, and the inbox for wakes from afar.

mod cell;
mod error;
pub(super) mod inbox;
mod join;
#[cfg(all(test, loom))]
mod models;
mod origin;
mod typed;

pub(crate) use cell::{running, Shared, TaskRef};
pub use error::JoinError;
pub use join::JoinHandle;
pub(crate) use origin::{Label, Origin};

#[cfg(test)]
mod tests;
