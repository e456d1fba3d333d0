//! Whichever engine a core has.

use super::ended::Ended;
use super::ready::Ready;
#[cfg(target_os = "linux")]
use super::uring::Uring;

/// The engine of a core, whichever it is: one look at every submission, and no more.
// One per core, and matched on at every submission: boxing the larger one would gain nothing.
#[allow(clippy::large_enum_variant)]
pub(super) enum AnyEngine {
    #[cfg(target_os = "linux")]
    Uring(Uring),
    Ready(Ready),
    /// Nothing can be started any more.
    Ended(Ended),
}

/// Does the same with whichever engine it is.
macro_rules! each {
    ($any:expr, $engine:ident => $call:expr) => {
        match $any {
            #[cfg(target_os = "linux")]
            $crate::driver::any::AnyEngine::Uring($engine) => $call,
            $crate::driver::any::AnyEngine::Ready($engine) => $call,
            $crate::driver::any::AnyEngine::Ended($engine) => $call,
        }
    };
}

pub(super) use each;
