//! An echo on several cores whose connections move: what a thread-per-core server does against skew.
//!
//! Each core sees, by its counters and those of the others, how many tasks are ready at each of its
//! turns: the length of its queue. One whose queue is much longer than the shortest hands connections
//! over, one at a time, and of those that carry much.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use ringpark::net::TcpStream;
use ringpark::runtime::{cores, CoreHandle};
use ringpark::spawn_on;

/// How often a core compares itself with the others, and hands over one connection at most.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A connection that has carried so much since it came is worth moving.
const WORTH: usize = 128 << 10;
/// How much longer a queue must be than the shortest.
const UNEVEN: f64 = 1.25;
/// Queues shorter than this make nobody wait.
const SHORT: f64 = 4.0;

thread_local! {
    static BALANCE: RefCell<Balance> = RefCell::new(Balance {
        looked: Instant::now(),
        counts: vec![],
    });
}

/// What a core knows of all of them.
struct Balance {
    looked: Instant,
    /// Task runs and turns of each core when it looked last.
    counts: Vec<(u64, u64)>,
}

impl Balance {
    /// The core to which one connection should go, if one should.
    fn lighter(&mut self) -> Option<CoreHandle> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let all = cores();
        let counts: Vec<_> = all
            .iter()
            .map(|core| core.metrics().map_or((0, 0), |metrics| (metrics.polls, metrics.turns)))
            .collect();
        let before = std::mem::replace(&mut self.counts, counts);
        let queue = |core: usize| {
            let ((polls, turns), (polls_before, turns_before)) =
                (self.counts[core], *before.get(core)?);
            Some((polls - polls_before) as f64 / (turns - turns_before).max(1) as f64)
        };
        let here = all.iter().position(|core| *core == CoreHandle::current())?;
        let mut queues: Vec<_> =
            (0..all.len()).filter_map(|core| Some((queue(core)?, core))).collect();
        let ours = queue(here)?;
        queues.sort_by(|a, b| a.0.total_cmp(&b.0));
        let &(shortest, core) = queues.first()?;
        let uneven = ours > SHORT && ours > shortest * UNEVEN;
        (uneven && core != here).then(|| all[core].clone())
    }
}

/// Echoes on this core until it pays to go on elsewhere.
pub(super) fn echo(stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>>>> {
    Box::pin(async move {
        let mut carried = 0;
        while let Some(lease) = stream.recv().await? {
            carried += lease.len();
            let (sent, lease) = stream.write_all(lease).await;
            sent?;
            drop(lease);
            if carried < WORTH {
                continue;
            }
            let Some(core) = BALANCE.with_borrow_mut(Balance::lighter) else { continue };
            let handoff = stream.into_handoff().await?;
            drop(spawn_on(&core, move || async move { echo(handoff.adopt()).await }));
            return Ok(());
        }
        Ok(())
    })
}
