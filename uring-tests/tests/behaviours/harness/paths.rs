//! The paths that a relay's bytes take: as it chooses by what it sees, and forced either way.

use std::cell::Cell;

use ringpark::io::Connection;
use ringpark::io::{Relay, RelayPath};

use super::Variant;

thread_local! {
    /// The path of the relays of this trial.
    static PATH: Cell<RelayPath> = const { Cell::new(RelayPath::Auto) };
}

/// A relay by the path of this trial.
pub fn relay<'a>(a: &'a impl Connection, b: &'a impl Connection) -> Relay<'a> {
    ringpark::io::relay(a, b).path(PATH.get())
}

/// Puts a promise to the test, with every relay by this path.
pub fn by(path: RelayPath, body: fn(&Variant), variant: &Variant) {
    PATH.set(path);
    body(variant);
}

/// Registers promises of relays, each three times: as the relay chooses its path, and by either path
/// wherever bytes can take it. The functions make their relays with [`relay`].
macro_rules! relays {
    ($($on:ident: $($row:literal)|+ => $function:ident),* $(,)?) => {
        &[$(
            crate::harness::Behaviour {
                name: stringify!($function),
                on: crate::harness::On::$on,
                body: $function,
            },
            crate::harness::Behaviour {
                name: concat!(stringify!($function), "_copied"),
                on: crate::harness::On::$on,
                body: |variant| crate::harness::by(ringpark::io::RelayPath::Copy, $function, variant),
            },
            crate::harness::Behaviour {
                name: concat!(stringify!($function), "_spliced"),
                on: crate::harness::On::$on,
                body: |variant| {
                    crate::harness::by(ringpark::io::RelayPath::Splice, $function, variant)
                },
            },
        )*]
    };
}
pub(crate) use relays;
