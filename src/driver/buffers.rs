//! Which buffers an engine's receives want.

use crate::buf::{BufferRing, PoolConfig};
use crate::op;

/// What pools of buffers are made of.
pub(crate) struct Buffers {
    pub(crate) config: PoolConfig,
    /// How much room each receive must find at least, where that is not the pool's own choice.
    pub(crate) room_min: Option<usize>,
    /// The ring from which the kernel takes buffers; without one the core fills them itself.
    pub(crate) ring: Option<Box<dyn BufferRing>>,
}

/// The buffers of a core that fills them itself.
const POOL: PoolConfig = PoolConfig { count_base: 16, count_max: 1024, size: 64 << 10 };

/// The buffers that a core fills with datagrams: small ones share a buffer, and each finds room for
/// the longest.
const DATAGRAMS: PoolConfig = PoolConfig { count_base: 4, count_max: 256, size: 256 << 10 };

/// The buffers for streams of a core that fills them itself; `wanted` are those that it was told to have.
pub(super) fn of_streams(wanted: Option<PoolConfig>) -> Buffers {
    Buffers { config: wanted.unwrap_or(POOL), room_min: None, ring: None }
}

/// The buffers for datagrams of a core that fills them itself.
pub(super) fn of_datagrams() -> Buffers {
    Buffers { config: DATAGRAMS, room_min: Some(op::DATAGRAM_MAX), ring: None }
}
