//! Starting the same main on several cores.

use std::future::Future;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::thread;

use super::core;
use super::group::{Accept, Group, Membership};
use crate::driver::Config;
use crate::sys;

/// Which threads to start.
pub(super) struct Plan {
    pub(super) cores: usize,
    /// The processor of each core, if they are to be pinned.
    pub(super) cpus: Option<Vec<usize>>,
    pub(super) name: String,
    pub(super) accept: Accept,
}

/// Runs `main`, which was started at this location, once on each core, and waits for all. The first
/// error stops the others and is the result; a panic does so too, and goes on in the caller.
pub(super) fn run<F, Fut>(
    plan: &Plan,
    config: &Config,
    main: F,
    started_at: &'static Location<'static>,
) -> io::Result<()>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = io::Result<()>>,
{
    if let Err(error) = sys::make_room_for_descriptors() {
        tracing::debug!(target: "ringpark", %error, "room for descriptors is made as they come");
    }
    let group = Arc::new(Group::default());
    let one = |index: usize| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if let Some(cpus) = &plan.cpus {
                pin(cpus[index])?;
            }
            let member = Membership::new(group.clone(), index, plan.cores, plan.accept);
            let main = async { group.until_stopped(main()).await };
            core::block_on(config, member, main, started_at)?
        }));
        if !matches!(outcome, Ok(Ok(()))) {
            group.stop();
        }
        outcome
    };
    let one = &one;
    let outcomes = thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..plan.cores {
            let name = format!("{}-{index}", plan.name);
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, move || one(index));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    group.stop();
                    threads.into_iter().for_each(|thread| drop(thread.join()));
                    return vec![Ok(Err(error))];
                }
            }
        }
        // What a thread panics with has been caught in there.
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(Err)).collect()
    });
    let mut result = Ok(());
    for outcome in outcomes {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => result = result.and(Err(error)),
            Err(panic) => resume_unwind(panic),
        }
    }
    result
}

fn pin(cpu: usize) -> io::Result<()> {
    sys::pin_to(cpu).map_err(|error| {
        let message =
            format!("cannot pin a core to CPU {cpu}: {error}; choose one that is allowed");
        io::Error::new(error.kind(), message)
    })
}
