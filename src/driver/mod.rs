//! The driver: the one place where a core meets its kernel.
//!
//! It decides where an operation runs, and keeps what is in flight: see `slots.rs`. The backend is behind
//! it, and the contract between the two, [`Engine`](engine::Engine), is written down in `engine.rs`.
//! Faults are injected here, and nowhere else.
//!
//! # Selection
//! [`choose`] takes the environment (`RINGPARK_BACKEND`), then the builder, then the best that works
//! here. A forced choice that fails is an error; an automatic one falls back, and says why.

mod any;
mod buffers;
mod capabilities;
mod choose;
mod config;
#[allow(clippy::module_inception)]
mod driver;
mod ended;
mod engine;
mod error;
mod facts;
mod fault;
mod ready;
mod registry;
mod slots;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

pub(crate) use buffers::Buffers;
pub(crate) use capabilities::Capabilities;
pub(crate) use choose::{choose, open_one, select, Chosen};
pub use config::{Backend, Feature, ParseNameError};
pub(crate) use config::{Config, Features};
pub(crate) use driver::Driver;
pub(crate) use engine::{Started, Wait};
pub use error::{NotPollable, SetupError};
pub(crate) use slots::Delivery;
