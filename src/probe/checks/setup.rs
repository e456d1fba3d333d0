//! The flags of `io_uring_setup`, each tried in one useful combination: the kernel answers EINVAL to
//! a flag that it does not know and to a combination that it does not like, without saying which.

use std::io;
use std::os::fd::AsRawFd;

use super::function::{check, untried_at_all};
use crate::probe::Patience;
use crate::probe::{Check, Group, Outcome};
use crate::sys;
use crate::sys::uring::{setup, setup_in_our_memory, Params};

const IOPOLL: u32 = 1;
const SQPOLL: u32 = 1 << 1;
const SQ_AFF: u32 = 1 << 2;
const CQSIZE: u32 = 1 << 3;
const CLAMP: u32 = 1 << 4;
const ATTACH_WQ: u32 = 1 << 5;
const R_DISABLED: u32 = 1 << 6;
const SUBMIT_ALL: u32 = 1 << 7;
const COOP_TASKRUN: u32 = 1 << 8;
const TASKRUN_FLAG: u32 = 1 << 9;
const SQE128: u32 = 1 << 10;
const CQE32: u32 = 1 << 11;
const SINGLE_ISSUER: u32 = 1 << 12;
const DEFER_TASKRUN: u32 = 1 << 13;
const NO_SQARRAY: u32 = 1 << 16;
const HYBRID_IOPOLL: u32 = 1 << 17;
const CQE_MIXED: u32 = 1 << 18;
const SQE_MIXED: u32 = 1 << 19;
const SQ_REWIND: u32 = 1 << 20;

/// The flag's name, its first kernel, and the combination.
const FLAGS: &[(&str, &str, u32)] = &[
    ("iopoll", "5.1", IOPOLL),
    ("sqpoll", "5.1", SQPOLL),
    ("sq-aff", "5.1", SQPOLL | SQ_AFF),
    ("cqsize", "5.5", CQSIZE),
    ("clamp", "5.6", CLAMP),
    ("attach-wq", "5.6", ATTACH_WQ),
    ("r-disabled", "5.10", R_DISABLED),
    ("submit-all", "5.18", SUBMIT_ALL),
    ("coop-taskrun", "5.19", COOP_TASKRUN),
    ("taskrun-flag", "5.19", COOP_TASKRUN | TASKRUN_FLAG),
    ("sqe128", "5.19", SQE128),
    ("cqe32", "5.19", CQE32),
    ("single-issuer", "6.0", SINGLE_ISSUER),
    ("defer-taskrun", "6.1", SINGLE_ISSUER | DEFER_TASKRUN),
    ("no-sqarray", "6.6", NO_SQARRAY),
    ("hybrid-iopoll", "6.13", IOPOLL | HYBRID_IOPOLL),
    ("cqe-mixed", "6.18", CQE_MIXED),
    ("sqe-mixed", "6.19", SQE_MIXED),
    ("sq-rewind", "7.0", SQ_REWIND | NO_SQARRAY),
];

/// Every flag, and the two that need memory of ours.
/// Nothing is tried without patience.
pub(in crate::probe) fn flags(patience: Option<Patience>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, since, attempt: &dyn Fn() -> io::Result<()>| {
        let outcome = match patience.map(|patience| patience.retry(attempt)) {
            None => untried_at_all(),
            Some(Ok(())) => Outcome::Works,
            Some(Err(error)) => Outcome::of(&error),
        };
        checks.push(check(Group::Setup, name, since, outcome, None));
    };
    for &(name, since, flags) in FLAGS {
        add(name, since, &|| try_flags(flags));
    }
    add("no-mmap", "6.5", &|| setup_in_our_memory(false));
    add("registered-fd-only", "6.5", &|| setup_in_our_memory(true));
    checks
}

fn try_flags(flags: u32) -> io::Result<()> {
    let mut params = Params::new(flags);
    params.completion_entries = 16;
    let other = match flags & ATTACH_WQ {
        0 => None,
        _ => Some(setup(4, &mut Params::default())?),
    };
    if let Some(other) = &other {
        params.wq_fd = other.as_raw_fd() as u32;
    }
    if flags & SQ_AFF != 0 {
        params.thread_cpu = sys::allowed_cpus()?.first().copied().unwrap_or(0) as u32;
    }
    setup(4, &mut params).map(drop)
}
