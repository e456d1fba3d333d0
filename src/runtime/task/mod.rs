//! Tasks: the cell that holds one, the handle that awaits it, and the inbox for wakes from afar.

mod cell;
mod inbox;
mod join;
#[cfg(all(test, loom))]
mod models;

pub(crate) use cell::{running, Header, TaskRef};
pub(crate) use inbox::Inbox;
pub use join::{JoinError, JoinHandle};

#[cfg(test)]
mod tests;
