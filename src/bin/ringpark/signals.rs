//! SIGINT and SIGTERM: the first asks for a graceful stop, the second cuts what is still open.
//!
//! Signals are received on a thread of their own, which moves the [`Shutdown`] on; that wakes the
//! cores, so none of them has to look.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use tracing::{error, info};

use crate::shutdown::{Shutdown, Stage};

/// The thread that waits for signals.
#[derive(Debug)]
pub struct Watch {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Takes the two signals over from here on.
    pub fn start(shutdown: Arc<Shutdown>) -> io::Result<Watch> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                obey(signal, &shutdown);
            }
        })?;
        Ok(Watch { handle, thread })
    }

    /// Ends the thread.
    pub fn stop(self) {
        self.handle.close();
        if self.thread.join().is_err() {
            error!("the thread that waits for signals had panicked");
        }
    }
}

fn obey(signal: i32, shutdown: &Shutdown) {
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    match shutdown.stage() {
        Stage::Running => {
            info!("{name}: no new connections; a second signal cuts those that are open");
            shutdown.advance(Stage::Stopping);
        }
        Stage::Stopping | Stage::Cut => {
            info!("{name} again: cutting the connections that are open");
            shutdown.advance(Stage::Cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_stops_and_the_second_cuts() {
        let shutdown = Shutdown::default();
        obey(SIGTERM, &shutdown);
        assert_eq!(shutdown.stage(), Stage::Stopping);
        obey(SIGINT, &shutdown);
        assert_eq!(shutdown.stage(), Stage::Cut);
        obey(SIGINT, &shutdown);
        assert_eq!(shutdown.stage(), Stage::Cut);
    }
}
