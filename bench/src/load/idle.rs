//! Idle connections: each is used once, then all keep still, and the server's memory is read.

use std::io;
use std::net::TcpListener;

use super::{connect, Order, Sample};
use crate::process::resident_bytes;
use crate::workload::IDLE_MESSAGE_SIZE;

/// Opens `connections`, lets each echo 8000 bytes, or carry them to the origin and back, and says
/// what each costs the server.
///
/// The first hundred come before the first reading: what a server allocates once, whether there
/// is one connection or a thousand, is not a connection's.
pub(super) fn run(
    order: &Order,
    connections: usize,
    origin: Option<&TcpListener>,
) -> io::Result<Sample> {
    let message = [0x42; IDLE_MESSAGE_SIZE];
    let mut streams = Vec::with_capacity(connections + connect::BATCH);
    let mut origins = Vec::new();
    let mut before = 0;
    while streams.len() < connections + connect::BATCH {
        let first = streams.len();
        for index in first..first + connect::BATCH {
            streams.push(connect::connect(order.server, index)?);
            if let Some(origin) = origin {
                origins.push(connect::accept(origin)?);
            }
        }
        if origin.is_some() {
            connect::prove(&streams[first..], &origins[first..], &message)?;
            connect::prove(&origins[first..], &streams[first..], &message)?;
        } else {
            connect::prove(&streams[first..], &[], &message)?;
        }
        if first == 0 {
            before = resident_bytes(order.server_pid)?;
        }
    }
    let after = resident_bytes(order.server_pid)?;
    let counted = (streams.len() - connect::BATCH) as f64;
    Ok(Sample {
        cost: (after as f64 - before as f64) / counted,
        rate: None,
        latency: None,
        resident_bytes: after,
        server_busy: None,
        load_busy: None,
        starved: 0,
    })
}
