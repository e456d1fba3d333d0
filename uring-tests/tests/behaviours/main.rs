//! The behaviour suite: what ringpark promises, written once and run on every variant of it.
//!
//! A *variant* is a backend as it comes, io_uring without one of its optional features, a backend
//! whose cores look for work before they sleep whatever the machine, or a backend under the seeded
//! fault decorator. A *behaviour* is a promise, a function in one of the files
//! here. A *trial* is a pair of them, named `variant::behaviour`, and runs in a process of its own,
//! so that descriptors, limits, filters and a hang are its own affair.
//!
//! ```text
//! cargo test -p ringpark-tests                         everything
//! cargo test -p ringpark-tests dropped_reads           one behaviour on all variants
//! cargo test -p ringpark-tests epoll::                 one variant
//! RINGPARK_TESTS_SEED=7 cargo test ...                 the random choices of an earlier run
//! RINGPARK_TESTS_REQUIRE_URING=1 cargo test ...        no io_uring is a failure, not a skip
//! RINGPARK_TESTS_JOBS=1 cargo test ...                 trials at a time
//! ```

mod harness;

mod accept;
mod buffers;
mod cancellation;
mod channels;
mod close;
mod connect;
mod cores;
mod deadlines;
mod ending;
mod files;
mod fixed_buffers;
mod handoff;
mod idle;
mod insight;
mod machine;
mod moves;
mod options;
mod placement;
mod probe;
mod processes;
mod read_write;
mod relay;
mod relay_bounds;
mod running;
mod shutdown;
mod streams;
mod suite;
mod tasks;
mod time;
mod udp;
mod udp_options;
mod unix;
mod unix_datagrams;
mod wakes;
mod zero_copy;

use harness::Behaviour;

#[global_allocator]
static ALLOCATOR: harness::alloc::Counting = harness::alloc::Counting;

/// Every behaviour of the suite, a list per file.
const BEHAVIOURS: &[&[Behaviour]] = &[
    deadlines::LIST,
    close::LIST,
    accept::LIST,
    connect::LIST,
    read_write::LIST,
    buffers::LIST,
    streams::LIST,
    relay::LIST,
    relay::BY_EACH_PATH,
    relay_bounds::LIST,
    relay_bounds::BY_EACH_PATH,
    machine::LIST,
    idle::LIST,
    cancellation::LIST,
    shutdown::LIST,
    running::LIST,
    probe::LIST,
    cores::LIST,
    wakes::LIST,
    channels::LIST,
    options::LIST,
    placement::LIST,
    handoff::LIST,
    moves::LIST,
    insight::LIST,
    ending::LIST,
    tasks::LIST,
    time::LIST,
    processes::LIST,
    files::LIST,
    fixed_buffers::LIST,
    udp::LIST,
    udp_options::LIST,
    unix::LIST,
    unix::BY_EACH_PATH,
    unix_datagrams::LIST,
    zero_copy::LIST,
    suite::LIST,
];

fn main() -> std::process::ExitCode {
    let behaviours: Vec<&'static Behaviour> = BEHAVIOURS.iter().copied().flatten().collect();
    harness::main(&behaviours)
}
