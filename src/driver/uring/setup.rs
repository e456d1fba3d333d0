//! Setting a ring up: the ladder of flags, the sizes, what the ring turns out to be able to do.
//!
//! The kernel answers EINVAL to a flag that it does not know and to a combination that it does not
//! like, without saying which. So the ladder first tries to do without one flag, each in turn, the
//! newest first; only if no single one was the cause it gives up the newest for good and goes on.
//! What fell off is remembered, and told.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::register::{Probe, Restriction};
use io_uring::{opcode, squeue, types, IoUring};

use crate::driver::{Backend, Config, Feature, Features, SetupError};
use crate::op::{self, Code, TABLE};
use crate::sys;
use crate::sys::uring::{enter, ENTER_GETEVENTS};

/// What the buffers are registered with, after the restrictions.
const REGISTER_PBUF_RING: u8 = 22;

/// The smallest rings that are tried when memory is short.
const SUBMISSION_FLOOR: u32 = 16;
const COMPLETION_FLOOR: u32 = 128;

/// The most that one connection receives before others have their turn, in bytes.
const RECV_CAP: u32 = 64 << 10;

/// The flags of the ladder, the newest first: the order in which they are given up.
const LADDER: [Feature; 6] = [
    Feature::NoSqArray,
    Feature::DeferTaskrun,
    Feature::SingleIssuer,
    Feature::TaskrunFlag,
    Feature::CoopTaskrun,
    Feature::SubmitAll,
];

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Codes(u64);

impl Codes {
    pub(super) fn has(self, code: Code) -> bool {
        self.0 & 1 << code as u32 != 0
    }

    fn insert(&mut self, code: Code) {
        self.0 |= 1 << code as u32;
    }

    pub(super) fn remove(&mut self, code: Code) {
        self.0 &= !(1 << code as u32);
    }
}

/// A ring as it came out.
pub(super) struct Built {
    pub(super) ring: IoUring,
    /// The features that it was set up with.
    pub(super) features: Features,
    /// Those that were wanted and refused.
    pub(super) refused: Vec<Feature>,
    /// The operations that it takes.
    pub(super) usable: Codes,
    /// The most that a multishot receive takes at a time, where the kernel knows such a cap; else 0.
    pub(super) recv_cap: u32,
    /// The index under which its descriptor is registered.
    pub(super) registered: Option<u32>,
}

/// What a ring of these sizes needs of the locked-memory limit, in bytes, where that is charged.
pub(super) fn locked_bytes(submission: u32, completion: u32) -> u64 {
    let pages = |bytes: u64| bytes.div_ceil(4096) * 4096;
    let submission = u64::from(submission.next_power_of_two());
    let completion = u64::from(completion.next_power_of_two());
    let heads: u64 = 64 * 5;
    pages(submission * 64) + pages(heads + completion * 16 + submission * 4)
}

/// Sets a ring up, as good as it can be had.
pub(super) fn build(config: &Config) -> Result<Built, SetupError> {
    let (mut submission, mut completion) = (config.submission_entries, config.completion_entries);
    let (ring, features, refused) = loop {
        let restricted = !config.forbidden.is_empty();
        let result = climb(config.features, |features| {
            flags(features, completion, restricted).build(submission)
        });
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                let at_floor = submission <= SUBMISSION_FLOOR && completion <= COMPLETION_FLOOR;
                if at_floor {
                    return Err(refusal("io_uring_setup", error, config));
                }
                submission = (submission / 2).max(SUBMISSION_FLOOR.min(submission));
                completion = (completion / 2).max(COMPLETION_FLOOR.min(completion)).max(submission);
                let needed = locked_bytes(submission, completion);
                tracing::debug!(target: "ringpark", submission, completion, needed, "smaller ring");
            }
            Err(error) => return Err(refusal("io_uring_setup", error, config)),
            Ok(climbed) => break climbed,
        }
    };
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        return Err(SetupError {
            backend: Backend::Uring,
            step: "io_uring_setup",
            source: io::Error::from_raw_os_error(libc::EOPNOTSUPP),
            hint: "this kernel's io_uring lacks waits with a time-out: it takes Linux 5.11".into(),
        });
    }
    finish(ring, features, refused, config)
}

/// The steps that follow the set-up itself.
fn finish(
    ring: IoUring,
    features: Features,
    refused: Vec<Feature>,
    config: &Config,
) -> Result<Built, SetupError> {
    let usable = Codes::default();
    let mut built = Built { ring, features, refused, usable, recv_cap: 0, registered: None };
    if features.has(Feature::RegisteredRing) {
        match sys::uring::register_ring_fd(built.ring.as_raw_fd()) {
            Ok(index) => built.registered = Some(index),
            Err(_) => built.refused.push(Feature::RegisteredRing),
        }
    }
    built.usable = known_opcodes(&built.ring, features);
    if !config.forbidden.is_empty() {
        restrict(&built.ring, &config.forbidden)
            .map_err(|source| refusal("io_uring_register", source, config))?;
    }
    try_opcodes(&mut built).map_err(|source| refusal("io_uring_enter", source, config))?;
    Ok(built)
}

fn refusal(step: &'static str, source: io::Error, config: &Config) -> SetupError {
    let needed = locked_bytes(config.submission_entries, config.completion_entries);
    let hint = super::refusal::explain(&source, needed);
    SetupError { backend: Backend::Uring, step, source, hint }
}

/// The set-up flags for these features.
fn flags(features: Features, completion: u32, restricted: bool) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_cqsize(completion);
    let defer = features.has(Feature::SingleIssuer) && features.has(Feature::DeferTaskrun);
    let coop = !defer && features.has(Feature::CoopTaskrun);
    if features.has(Feature::SingleIssuer) {
        builder.setup_single_issuer();
    }
    if defer {
        builder.setup_defer_taskrun();
    }
    if coop {
        builder.setup_coop_taskrun();
    }
    if (defer || coop) && features.has(Feature::TaskrunFlag) {
        builder.setup_taskrun_flag();
    }
    if features.has(Feature::SubmitAll) {
        builder.setup_submit_all();
    }
    if features.has(Feature::NoSqArray) {
        builder.setup_no_sqarray();
    }
    if restricted {
        builder.setup_r_disabled();
    }
    builder
}

/// Tries with all the features wanted, then with fewer: what worked, with which, and without which.
fn climb<R>(
    wanted: Features,
    mut attempt: impl FnMut(Features) -> io::Result<R>,
) -> io::Result<(R, Features, Vec<Feature>)> {
    let refused = |features: Features| {
        let fell = |&feature: &Feature| wanted.has(feature) && !features.has(feature);
        LADDER.into_iter().filter(fell).collect()
    };
    let mut features = wanted;
    loop {
        match attempt(features) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other.map(|built| (built, features, refused(features))),
        }
        let left: Vec<Feature> = LADDER.into_iter().filter(|&flag| features.has(flag)).collect();
        let Some(&newest) = left.first() else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        for feature in left {
            let mut fewer = features;
            fewer.remove(feature);
            if let Ok(built) = attempt(fewer) {
                return Ok((built, fewer, refused(fewer)));
            }
        }
        features.remove(newest);
    }
}

/// The operations whose opcodes the kernel says it has.
fn known_opcodes(ring: &IoUring, features: Features) -> Codes {
    let mut probe = Probe::new();
    // A kernel that cannot be asked is tried all the same.
    let asked = ring.submitter().register_probe(&mut probe).is_ok();
    let mut codes = Codes::default();
    for code in Code::all() {
        let wanted = match code {
            Code::AcceptMulti => features.has(Feature::MultishotAccept),
            Code::RecvMulti => features.has(Feature::MultishotRecv),
            _ => true,
        };
        if wanted && (!asked || probe.is_supported(TABLE[code as usize].opcode)) {
            codes.insert(code);
        }
    }
    codes
}

/// Lets the ring refuse `forbidden`, as an operator's policy may.
fn restrict(ring: &IoUring, forbidden: &[Code]) -> io::Result<()> {
    let mut opcodes: Vec<u8> = TABLE.iter().map(|row| row.opcode).collect();
    opcodes.sort_unstable();
    opcodes.dedup();
    opcodes.retain(|&opcode| forbidden.iter().all(|code| code.row().opcode != opcode));
    let mut rules: Vec<Restriction> = opcodes.into_iter().map(Restriction::sqe_op).collect();
    rules.push(Restriction::sqe_flags_allowed(u8::MAX));
    rules.push(Restriction::register_op(REGISTER_PBUF_RING));
    ring.submitter().register_restrictions(&mut rules)?;
    ring.submitter().register_enable_rings()
}

/// Tries each operation on no descriptor, and takes out those that are refused as such: what is
/// there complains of the descriptor (EBADF), what is forbidden answers EACCES, and a multishot form
/// that is unknown EINVAL. It costs some microseconds.
fn try_opcodes(built: &mut Built) -> io::Result<()> {
    let codes: Vec<Code> = Code::all().filter(|&code| built.usable.has(code)).collect();
    // What entries may point to that are read before the descriptor is looked at.
    let address = [0u64; 16];
    // SAFETY: all zeros is a header that names nothing.
    let header: libc::msghdr = unsafe { std::mem::zeroed() };
    for code in codes {
        let Some(entry) = trial(code, &address, &header) else { continue };
        let answer = ask(&mut built.ring, entry)?;
        if matches!(answer, libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP) {
            built.usable.remove(code);
        }
    }
    // Before 6.17 a multishot receive takes no length.
    let capped = ask(&mut built.ring, op::recv_multi_sqe(-1, 0, RECV_CAP))?;
    built.recv_cap = if capped == libc::EBADF { RECV_CAP } else { 0 };
    Ok(())
}

/// The errno that the kernel answers to an entry that names no descriptor. What the entry points to
/// must be valid until this returns.
fn ask(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<i32> {
    // SAFETY: with no descriptor nothing is done, and the caller keeps what is read before that.
    unsafe { ring.submission().push(&entry.user_data(1)) }
        .map_err(|_| io::Error::other("the submission queue is full of nothing"))?;
    while ring.completion().is_empty() {
        let pending = ring.submission().len() as u32;
        match enter(ring.as_raw_fd(), pending, 1, ENTER_GETEVENTS, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(ring.completion().next().map_or(0, |answer| -answer.result()))
}

/// An entry for `code` that fails for want of a descriptor.
fn trial(code: Code, address: &[u64; 16], header: &libc::msghdr) -> Option<squeue::Entry> {
    let (no_fd, null) = (types::Fd(-1), std::ptr::null_mut::<u8>());
    Some(match code {
        Code::Accept => {
            opcode::Accept::new(no_fd, std::ptr::null_mut(), std::ptr::null_mut()).build()
        }
        Code::AcceptMulti => op::accept_multi_sqe(-1),
        // It needs no descriptor: there is just nothing to cancel.
        Code::Cancel => opcode::AsyncCancel::new(0).build(),
        Code::Close => op::close_sqe(-1),
        Code::Poll => op::poll_sqe(-1, op::Interest::Readable),
        Code::Read => opcode::Read::new(no_fd, null, 0).build(),
        Code::Recv => opcode::Recv::new(no_fd, null, 0).build(),
        Code::RecvMulti => op::recv_multi_sqe(-1, 0, 0),
        Code::Send => opcode::Send::new(no_fd, null, 0).build(),
        Code::Write => opcode::Write::new(no_fd, null, 0).build(),
        // An impossible family: EAFNOSUPPORT, unless the operation is refused.
        Code::Socket => opcode::Socket::new(-1, libc::SOCK_STREAM, 0).build(),
        Code::Connect => {
            let length = size_of_val(address) as libc::socklen_t;
            opcode::Connect::new(no_fd, address.as_ptr().cast(), length).build()
        }
        Code::SendMsg => opcode::SendMsg::new(no_fd, header).build(),
        // Read only: without a descriptor it is not written to.
        Code::RecvMsg => opcode::RecvMsg::new(no_fd, std::ptr::from_ref(header).cast_mut()).build(),
        // It is never asked of the ring.
        Code::Shutdown | Code::Splice => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing(bad: &[Feature]) -> io::Result<((), Features, Vec<Feature>)> {
        climb(Features::all(), |features| match bad.iter().any(|&flag| features.has(flag)) {
            true => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            false => Ok(()),
        })
    }

    #[test]
    fn a_refused_flag_falls_off_alone() {
        for flag in LADDER {
            let ((), features, refused) = refusing(&[flag]).unwrap();
            assert_eq!(refused, [flag]);
            assert!(LADDER.into_iter().all(|other| features.has(other) == (other != flag)));
        }
    }

    #[test]
    fn an_old_kernel_loses_what_it_does_not_know() {
        let (_, _, refused) = refusing(&LADDER[..3]).unwrap();
        assert_eq!(refused, &LADDER[..3]);
        let (_, _, refused) = refusing(&LADDER).unwrap();
        assert_eq!(refused, LADDER);
    }

    #[test]
    fn another_error_ends_the_climb_at_once() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EACCES] {
            let mut attempts = 0;
            let result = climb(Features::all(), |_| -> io::Result<()> {
                attempts += 1;
                Err(io::Error::from_raw_os_error(errno))
            });
            assert_eq!(result.unwrap_err().raw_os_error(), Some(errno));
            assert_eq!(attempts, 1);
        }
    }

    #[test]
    fn a_kernel_that_refuses_everything_is_given_up() {
        let result = climb(Features::all(), |_| -> io::Result<()> {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        });
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn the_memory_needed_is_as_measured() {
        // Bisected on 6.18 with RLIMIT_MEMLOCK as an ordinary user.
        assert_eq!(locked_bytes(256, 4096), 84 * 1024);
        assert!(locked_bytes(64, 128) <= 12 * 1024);
    }
}
