//! Zero-copy sends. Whether the kernel copies all the same depends on the way out: over loopback it
//! always does, and so do many virtual interfaces.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::probe::trial::ask::Ask;
use crate::probe::trial::Trial;
use crate::probe::{Outcome, Route};

/// What is sent, in bytes: one datagram that fits into every frame.
const LENGTH: usize = 1200;
/// `IORING_NOTIF_USAGE_ZC_COPIED`
const COPIED: i32 = i32::MIN;

/// The way to this machine itself.
pub(in crate::probe) fn loopback(trial: &mut Result<Trial, Outcome>) -> Route {
    match UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        let address = socket.local_addr()?;
        Ok((socket, address))
    }) {
        // It stays open until the end, so that nobody complains of the datagram.
        Ok((_receiver, address)) => route(trial, address),
        Err(error) => Route {
            destination: "127.0.0.1".into(),
            source: None,
            outcome: Outcome::Untried { reason: format!("loopback: {error}") },
            copied: None,
        },
    }
}

/// The ways to these addresses: a datagram is sent to each.
pub(in crate::probe) fn routes(
    trial: &mut Result<Trial, Outcome>,
    destinations: &[SocketAddr],
) -> Vec<Route> {
    destinations.iter().map(|&destination| route(trial, destination)).collect()
}

fn route(trial: &mut Result<Trial, Outcome>, destination: SocketAddr) -> Route {
    let mut route = Route {
        destination: destination.to_string(),
        source: None,
        outcome: Outcome::Works,
        copied: None,
    };
    // Also without a ring: reports of one machine are compared by this address.
    let socket = connected(destination);
    let source = socket.as_ref().ok().and_then(|socket| socket.local_addr().ok());
    route.source = source.map(|address| address.ip().to_string());
    match (trial, socket) {
        (Err(why), _) => route.outcome = super::untried(why),
        (Ok(_), Err(error)) => {
            route.outcome = Outcome::Untried { reason: format!("no way there: {error}") };
        }
        (Ok(ring), Ok(socket)) => {
            // The pages that are sent are charged like a ring.
            let short =
                |outcome: &Outcome| matches!(outcome, Outcome::Refused { errno: libc::ENOMEM, .. });
            match ring.patience.for_memory(short, || send(ring, &socket)) {
                Ok(copied) => route.copied = copied,
                Err(outcome) => route.outcome = outcome,
            }
            ring.settle();
        }
    }
    route
}

fn connected(destination: SocketAddr) -> io::Result<UdpSocket> {
    let any = if destination.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(destination)?;
    Ok(socket)
}

/// Sends, and says whether the bytes were copied, where the kernel tells (6.2).
fn send(ring: &mut Trial, socket: &UdpSocket) -> Result<Option<bool>, Outcome> {
    for report in [true, false] {
        let ask = Ask::send_zero_copy(socket.as_raw_fd(), 0, LENGTH, report);
        let number = ring.start(ask)?;
        let sent = ring.answer(number)?;
        if sent.errno() == libc::EINVAL && report {
            if sent.more() {
                ring.answer(number)?;
            }
            continue;
        }
        sent.ok()?;
        if !sent.more() {
            return Err(Outcome::broken("no notification follows"));
        }
        let notification = ring.answer(number)?;
        if !notification.notification() {
            return Err(Outcome::broken("another answer came instead of the notification"));
        }
        return Ok(report.then_some(notification.result & COPIED != 0));
    }
    Err(Outcome::Absent)
}
