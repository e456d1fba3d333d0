//! What came of setting a ring up, for the line that a core logs, and for the probe.

use super::config::Feature;
use crate::buf::PoolConfig;
use crate::cause::Cause;
use crate::op::Code;

/// What came of a ring's set-up.
#[derive(Debug)]
pub(crate) struct RingFacts {
    /// The features in use.
    pub(crate) features: Vec<Feature>,
    /// Those that the kernel refused.
    pub(crate) refused: Vec<Feature>,
    /// The operations that fall back to poll and attempt.
    pub(crate) missing: Vec<Code>,
    /// The sizes of the submission and the completion queue.
    pub(crate) entries: [u32; 2],
    /// The buffers that the kernel fills, if it does.
    pub(crate) buffers: Option<PoolConfig>,
    /// The error for which there are none, where they were wanted.
    pub(crate) no_buffers: Option<i32>,
    /// Why it is smaller than was asked for, if it is.
    pub(crate) short_of: Option<Cause>,
}
