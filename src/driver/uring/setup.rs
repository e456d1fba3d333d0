//! Setting a ring up: the ladder of flags, the sizes, what the ring turns out to be able to do.
//!
//! The kernel answers EINVAL to a flag that it does not know and to a combination that it does not
//! like, without saying which. So the ladder first tries to do without one flag, each in turn, the
//! newest first; only if no single one was the cause it gives up the newest for good and goes on.
//! What fell off is remembered, and told.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::register::Restriction;
use io_uring::IoUring;

use super::checks::{self, Verdict};
use crate::cause::{self, Cause};
use crate::driver::capabilities::Codes;
use crate::driver::{Backend, Config, Feature, Features, SetupError};
use crate::op::{Code, TABLE};
use crate::sys;

/// What is registered after the restrictions: rings of buffers, the table of memory, what is in it.
const REGISTERED_LATER: [u8; 3] = [22, 15, 16];

/// The smallest rings that are tried when memory is short.
const SUBMISSION_FLOOR: u32 = 16;
const COMPLETION_FLOOR: u32 = 128;

/// The flags of the ladder, the newest first: the order in which they are given up.
const LADDER: [Feature; 6] = [
    Feature::NoSqArray,
    Feature::DeferTaskrun,
    Feature::SingleIssuer,
    Feature::TaskrunFlag,
    Feature::CoopTaskrun,
    Feature::SubmitAll,
];

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
pub(crate) fn locked_bytes(submission: u32, completion: u32) -> u64 {
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
        let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        return Err(SetupError::because(Backend::Uring, "io_uring_setup", source, |_| {
            vec![Cause::OldRing]
        }));
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
    built.usable = checks::known_operations(&built.ring);
    for feature in Feature::ALL.iter().filter(|&&feature| !features.has(feature)) {
        feature.operation().into_iter().for_each(|code| built.usable.remove(code));
    }
    if !config.forbidden.is_empty() {
        restrict(&built.ring, &config.forbidden)
            .map_err(|source| refusal("io_uring_register", source, config))?;
    }
    try_operations(&mut built).map_err(|source| refusal("io_uring_enter", source, config))?;
    Ok(built)
}

/// Takes out the operations that the ring turns out not to take. It costs some microseconds.
fn try_operations(built: &mut Built) -> io::Result<()> {
    for code in Code::all() {
        if built.usable.has(code) && checks::operation(&mut built.ring, code)? != Verdict::Takes {
            built.usable.remove(code);
        }
    }
    built.recv_cap = checks::recv_cap(&mut built.ring)?;
    Ok(())
}

fn refusal(step: &'static str, source: io::Error, config: &Config) -> SetupError {
    let needed = locked_bytes(config.submission_entries, config.completion_entries);
    SetupError::because(Backend::Uring, step, source, |error| cause::of(error, needed))
}

/// The set-up flags for these features.
pub(crate) fn flags(features: Features, completion: u32, restricted: bool) -> io_uring::Builder {
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
pub(crate) fn climb<R>(
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

/// Lets the ring refuse `forbidden`, as an operator's policy may.
fn restrict(ring: &IoUring, forbidden: &[Code]) -> io::Result<()> {
    let mut opcodes: Vec<u8> = TABLE.iter().map(|row| row.opcode).collect();
    opcodes.sort_unstable();
    opcodes.dedup();
    opcodes.retain(|&opcode| forbidden.iter().all(|code| code.row().opcode != opcode));
    let mut rules: Vec<Restriction> = opcodes.into_iter().map(Restriction::sqe_op).collect();
    rules.push(Restriction::sqe_flags_allowed(u8::MAX));
    rules.extend(REGISTERED_LATER.map(Restriction::register_op));
    ring.submitter().register_restrictions(&mut rules)?;
    ring.submitter().register_enable_rings()
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
