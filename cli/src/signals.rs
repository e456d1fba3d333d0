//! SIGINT and SIGTERM: the first asks for a graceful stop, the second cuts what is still open.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use ringpark::shutdown::Shutdown;
use ringpark::signal::{signal, Signal, SignalKind};
use tracing::{info, warn};

use crate::service;

/// The two signals, caught.
#[derive(Debug)]
pub struct Watch {
    interrupt: Signal,
    terminate: Signal,
}

impl Watch {
    /// Takes the two signals over from here on.
    pub fn start() -> io::Result<Watch> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Watch { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Obeys them for as long as this is awaited.
    pub async fn obey(mut self, shutdown: Shutdown) {
        loop {
            let name = poll_fn(|cx| self.poll_next(cx)).await;
            obey(name, &shutdown);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        if self.interrupt.poll_recv(cx).is_ready() {
            return Poll::Ready("SIGINT");
        }
        self.terminate.poll_recv(cx).map(|()| "SIGTERM")
    }
}

fn obey(name: &str, shutdown: &Shutdown) {
    if shutdown.stop() {
        info!("{name}: no new connections; a second signal cuts those that are open");
        tell("STOPPING=1");
    } else {
        info!("{name} again: cutting the connections that are open");
        shutdown.cut();
    }
}

/// Tells the service manager, if there is one that wants to know.
pub fn tell(state: &str) {
    if let Err(err) = service::notify(state) {
        warn!("cannot tell the service manager {state}: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpark::shutdown::Stage;

    #[test]
    fn the_first_signal_stops_and_the_second_cuts() {
        let shutdown = Shutdown::new();
        obey("SIGTERM", &shutdown);
        assert_eq!(shutdown.stage(), Stage::Stopping);
        obey("SIGINT", &shutdown);
        assert_eq!(shutdown.stage(), Stage::Cut);
        obey("SIGINT", &shutdown);
        assert_eq!(shutdown.stage(), Stage::Cut);
    }
}
