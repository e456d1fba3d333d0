//! What the kernel says that it knows: feature bits, opcodes, operations of `io_uring_register`. It is
//! not always true; what ringpark itself builds on is tried as well.

use std::os::fd::AsRawFd;

use super::function::{check, small_ring, untried};
use crate::driver::uring::checks::{self, Verdict};
use crate::op::Code;
use crate::probe::trial::Trial;
use crate::probe::Patience;
use crate::probe::{Check, Group, Outcome};
use crate::sys::uring::{register_nothing, Params};

/// The bits of what a ring says of itself, from the lowest on.
const FEATURES: &[(&str, &str)] = &[
    ("single-mmap", "5.4"),
    ("nodrop", "5.5"),
    ("submit-stable", "5.5"),
    ("rw-cur-pos", "5.6"),
    ("cur-personality", "5.6"),
    ("fast-poll", "5.7"),
    ("poll-32bits", "5.9"),
    ("sqpoll-nonfixed", "5.11"),
    ("ext-arg", "5.11"),
    ("native-workers", "5.12"),
    ("rsrc-tags", "5.13"),
    ("cqe-skip", "5.17"),
    ("linked-file", "5.17"),
    ("reg-reg-ring", "6.3"),
    ("recvsend-bundle", "6.10"),
    ("min-timeout", "6.12"),
    ("rw-attr", "6.14"),
    ("no-iowait", "6.15"),
];

pub(in crate::probe) fn features(patience: Option<Patience>) -> Vec<Check> {
    let mut params = Params::default();
    let ring = small_ring(patience, &mut params);
    let of = |bit: usize| match &ring {
        Ok(_) if params.features & 1 << bit != 0 => Outcome::Works,
        Ok(_) => Outcome::Absent,
        Err(why) => why.clone(),
    };
    let mut checks: Vec<Check> = FEATURES
        .iter()
        .enumerate()
        .map(|(bit, (name, since))| check(Group::Feature, name, since, of(bit), None))
        .collect();
    for bit in (FEATURES.len()..32).filter(|bit| params.features & 1 << bit != 0) {
        let name = format!("bit-{bit}");
        let note = Some("newer than this program".to_owned());
        checks.push(check(Group::Feature, &name, "", Outcome::Works, note));
    }
    checks
}

/// The opcodes, in their order.
const OPCODES: &[(&str, &str)] = &[
    ("nop", "5.1"),
    ("readv", "5.1"),
    ("writev", "5.1"),
    ("fsync", "5.1"),
    ("read-fixed", "5.1"),
    ("write-fixed", "5.1"),
    ("poll-add", "5.1"),
    ("poll-remove", "5.1"),
    ("sync-file-range", "5.2"),
    ("sendmsg", "5.3"),
    ("recvmsg", "5.3"),
    ("timeout", "5.4"),
    ("timeout-remove", "5.5"),
    ("accept", "5.5"),
    ("async-cancel", "5.5"),
    ("link-timeout", "5.5"),
    ("connect", "5.5"),
    ("fallocate", "5.6"),
    ("openat", "5.6"),
    ("close", "5.6"),
    ("files-update", "5.6"),
    ("statx", "5.6"),
    ("read", "5.6"),
    ("write", "5.6"),
    ("fadvise", "5.6"),
    ("madvise", "5.6"),
    ("send", "5.6"),
    ("recv", "5.6"),
    ("openat2", "5.6"),
    ("epoll-ctl", "5.6"),
    ("splice", "5.7"),
    ("provide-buffers", "5.7"),
    ("remove-buffers", "5.7"),
    ("tee", "5.8"),
    ("shutdown", "5.11"),
    ("renameat", "5.11"),
    ("unlinkat", "5.11"),
    ("mkdirat", "5.15"),
    ("symlinkat", "5.15"),
    ("linkat", "5.15"),
    ("msg-ring", "5.18"),
    ("fsetxattr", "5.19"),
    ("setxattr", "5.19"),
    ("fgetxattr", "5.19"),
    ("getxattr", "5.19"),
    ("socket", "5.19"),
    ("uring-cmd", "5.19"),
    ("send-zc", "6.0"),
    ("sendmsg-zc", "6.1"),
    ("read-multishot", "6.7"),
    ("waitid", "6.7"),
    ("futex-wait", "6.7"),
    ("futex-wake", "6.7"),
    ("futex-waitv", "6.7"),
    ("fixed-fd-install", "6.8"),
    ("ftruncate", "6.9"),
    ("bind", "6.11"),
    ("listen", "6.11"),
    ("recv-zc", "6.15"),
    ("epoll-wait", "6.15"),
    ("readv-fixed", "6.15"),
    ("writev-fixed", "6.15"),
    ("pipe", "6.16"),
    ("nop128", "6.19"),
    ("uring-cmd128", "6.19"),
];

pub(in crate::probe) fn opcodes(trial: &mut Result<Trial, Outcome>) -> Vec<Check> {
    let known = match trial {
        Ok(ring) => checks::opcodes(ring.ring()).ok_or(Outcome::Absent),
        Err(why) => Err(untried(why)),
    };
    let mut list: Vec<Check> = Vec::new();
    for (opcode, (name, since)) in OPCODES.iter().enumerate() {
        let outcome = match &known {
            Ok(known) if known.contains(&(opcode as u8)) => Outcome::Works,
            Ok(_) => Outcome::Absent,
            Err(why) => why.clone(),
        };
        list.push(check(Group::Opcode, name, since, outcome, None));
    }
    for opcode in known.into_iter().flatten().filter(|&opcode| opcode as usize >= OPCODES.len()) {
        let note = Some("newer than this program".to_owned());
        let name = format!("opcode-{opcode}");
        list.push(check(Group::Opcode, &name, "", Outcome::Works, note));
    }
    // What ringpark itself asks for is asked for; a policy may forbid what the kernel knows.
    if let Ok(ring) = trial {
        for code in Code::all() {
            let place = &mut list[code.row().opcode as usize];
            match checks::operation(ring.ring(), code) {
                Ok(Verdict::Forbidden) => {
                    let by = "restrictions of the ring or the task";
                    place.outcome = Outcome::refused(libc::EACCES, by);
                }
                Ok(Verdict::Takes | Verdict::Unknown) => {}
                Err(error) => place.outcome = Outcome::of(&error),
            }
        }
    }
    list
}

/// The operations of `io_uring_register`: number, name, first kernel, whether there is an argument,
/// how many of them. What undoes another one goes without saying.
const REGISTERS: &[(u32, &str, &str, bool, u32)] = &[
    (0, "buffers", "5.1", true, 1),
    (2, "files", "5.1", true, 1),
    (4, "eventfd", "5.2", true, 1),
    (6, "files-update", "5.5", true, 1),
    (7, "eventfd-async", "5.6", true, 1),
    (8, "probe", "5.6", true, 1),
    (9, "personality", "5.6", false, 0),
    (11, "restrictions", "5.10", true, 1),
    (12, "enable-rings", "5.10", false, 0),
    (13, "files2", "5.13", true, 32),
    (14, "files-update2", "5.13", true, 32),
    (15, "buffers2", "5.13", true, 32),
    (16, "buffers-update", "5.13", true, 32),
    (17, "iowq-aff", "5.14", true, 8),
    (19, "iowq-max-workers", "5.15", true, 2),
    (20, "ring-fds", "5.18", true, 1),
    (22, "pbuf-ring", "5.19", true, 1),
    (24, "sync-cancel", "6.0", true, 1),
    (25, "file-alloc-range", "6.0", true, 0),
    (26, "pbuf-status", "6.8", true, 1),
    (27, "napi", "6.9", true, 1),
    (29, "clock", "6.12", true, 0),
    (30, "clone-buffers", "6.12", true, 1),
    (31, "send-msg-ring", "6.13", true, 1),
    (32, "zcrx-ifq", "6.15", true, 1),
    (33, "resize-rings", "6.13", true, 1),
    (34, "mem-region", "6.13", true, 1),
    (35, "query", "6.18", true, 0),
    (36, "zcrx-ctrl", "6.19", true, 0),
];

/// What is asked of no ring at all.
const RINGLESS: [u32; 2] = [31, 35];

/// Each is called with an argument that cannot be valid: whoever complains of that knows the call.
pub(in crate::probe) fn registers(patience: Option<Patience>) -> Vec<Check> {
    // Some are for such rings only.
    const CQE32: u32 = 1 << 11;
    const SINGLE_ISSUER_DEFER_TASKRUN: u32 = 3 << 12;
    let ring = |flags| small_ring(patience, &mut Params::new(flags));
    let ring = ring(CQE32 | SINGLE_ISSUER_DEFER_TASKRUN).or_else(|_| ring(0));
    let one = |&(opcode, name, since, argument, count): &(u32, &str, &str, bool, u32)| {
        let outcome = match &ring {
            Err(why) => why.clone(),
            Ok(_) if RINGLESS.contains(&opcode) => {
                known(register_nothing(-1, opcode, argument, count), true)
            }
            Ok(ring) => known(register_nothing(ring.as_raw_fd(), opcode, argument, count), false),
        };
        check(Group::Register, name, since, outcome, None)
    };
    REGISTERS.iter().map(one).collect()
}

/// What the errno of a bad call says of it.
fn known(errno: i32, ringless: bool) -> Outcome {
    match errno {
        libc::EINVAL | libc::ENOSYS => Outcome::Absent,
        // Before 6.13 a call without a ring complained of that.
        libc::EBADF if ringless => Outcome::Absent,
        libc::EPERM | libc::EACCES => {
            Outcome::refused(errno, "it takes a privilege, or a policy forbids it")
        }
        _ => Outcome::Works,
    }
}
