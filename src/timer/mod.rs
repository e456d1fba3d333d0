//! What time is, and who is to be woken when: the clock, and a core's timing wheel.

pub(crate) mod clock;
mod wheel;

pub(crate) use wheel::{TimerKey, Wheel};
