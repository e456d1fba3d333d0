//! The core that something belongs to, as seen from any thread.

/// A core that things come home to, from whatever thread they are dropped on.
pub(crate) trait Home: Send + Sync {
    /// Whether the calling thread runs this core.
    fn is_current(&self) -> bool;

    /// Ends the core's sleep, or keeps it from falling asleep. Any thread; never blocks.
    fn notify(&self);
}
