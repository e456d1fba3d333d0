//! What those who wait have in common, on one core and between threads.

pub(crate) mod atomic;
mod biased;
pub(crate) mod home;
mod wait_queue;

pub(crate) use biased::Biased;
pub(crate) use home::Home;
pub(crate) use wait_queue::{Position, WaitQueue};
