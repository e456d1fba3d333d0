//! What a driver can be told: which backend, which optional features of io_uring, which sizes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::buf::PoolConfig;
use crate::op::Code;

/// A way of the kernel to say that a task can go on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Backend {
    /// io_uring (Linux 5.11 and newer): operations are submitted, completions resume.
    Uring,
    /// epoll(7) (Linux): readiness, edge-triggered.
    Epoll,
    /// kqueue(2) (the BSDs, macOS): readiness, edge-triggered.
    Kqueue,
    /// poll(2): readiness, everywhere, slow with many descriptors.
    Poll,
    /// select(2): the same, and only for descriptors with small numbers (below 1024 on most
    /// systems): the very last resort.
    Select,
}

impl Backend {
    /// Those of this system, the best first.
    pub const SUPPORTED: &'static [Backend] = &[
        #[cfg(target_os = "linux")]
        Backend::Uring,
        #[cfg(target_os = "linux")]
        Backend::Epoll,
        #[cfg(any(not(target_os = "linux"), ringpark_kqueue))]
        Backend::Kqueue,
        Backend::Poll,
        Backend::Select,
    ];

    pub(crate) const ALL: [Backend; 5] =
        [Backend::Uring, Backend::Epoll, Backend::Kqueue, Backend::Poll, Backend::Select];

    /// The name, as in `RINGPARK_BACKEND`.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Epoll => "epoll",
            Backend::Kqueue => "kqueue",
            Backend::Poll => "poll",
            Backend::Select => "select",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseNameError {
    what: &'static str,
    name: String,
    known: String,
}

impl fmt::Display for ParseNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a {}: it must be one of {}", self.name, self.what, self.known)
    }
}

impl std::error::Error for ParseNameError {}

impl ParseNameError {
    /// The error of a name that is none of `known`.
    pub(crate) fn new<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> ParseNameError {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        ParseNameError { what, name: name.to_owned(), known }
    }
}

impl FromStr for Backend {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Backend, ParseNameError> {
        let find = Backend::ALL.into_iter().find(|backend| backend.name() == name);
        let known = Backend::SUPPORTED.iter().map(|backend| backend.name());
        find.ok_or_else(|| ParseNameError::new("backend", name, known))
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $feature:ident = $name:literal;)*) => {
        /// An optional feature of the kernel that ringpark uses where it is to be had, nearly all of
        /// io_uring.
        ///
        /// Each can be switched off, with [`Builder::without`](crate::Builder::without) or with
        /// `RINGPARK_WITHOUT=name,name`: to step round a kernel's bug, or to test what happens on a
        /// kernel without it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Feature { $($(#[$doc])* $feature,)* }

        impl Feature {
            /// All of them.
            pub const ALL: &'static [Feature] = &[$(Feature::$feature,)*];

            /// The name, as in `RINGPARK_WITHOUT`.
            pub const fn name(self) -> &'static str {
                match self { $(Feature::$feature => $name,)* }
            }
        }
    };
}

features! {
    /// `IORING_SETUP_SINGLE_ISSUER` (6.0): one thread submits. Needed for `DeferTaskrun`.
    SingleIssuer = "single-issuer";
    /// `IORING_SETUP_DEFER_TASKRUN` (6.1): completions are processed when the core asks for them,
    /// and not in the middle of its work. Without it io_uring is not chosen automatically, since
    /// epoll is faster then.
    DeferTaskrun = "defer-taskrun";
    /// `IORING_SETUP_COOP_TASKRUN` (5.19): completions do not interrupt the core. Used where
    /// `DeferTaskrun` is not.
    CoopTaskrun = "coop-taskrun";
    /// `IORING_SETUP_TASKRUN_FLAG` (5.19): tells without a system call whether there is work.
    TaskrunFlag = "taskrun-flag";
    /// `IORING_SETUP_SUBMIT_ALL` (5.18): one bad entry does not stop those behind it.
    SubmitAll = "submit-all";
    /// `IORING_SETUP_NO_SQARRAY` (6.6): one indirection less at each submission.
    NoSqArray = "no-sqarray";
    /// Registered ring descriptor (5.18): no look-up at each system call.
    RegisteredRing = "registered-ring";
    /// Messages to the ring from any thread (`IORING_REGISTER_SEND_MSG_RING`, 6.13): they end a core's
    /// sleep sooner than an eventfd does.
    RingMessage = "ring-message";
    /// Multishot accept (5.19): one submission, many connections.
    MultishotAccept = "multishot-accept";
    /// Multishot receive into a ring of buffers (6.0): one submission, many messages, and no buffer
    /// held by an idle connection.
    MultishotRecv = "multishot-recv";
    /// Incremental consumption of buffers (6.12): small messages share one.
    IncrementalBuffers = "incremental-buffers";
    /// Sends out of the memory that the bytes are in (6.0; since 6.2 the kernel says whether it has
    /// copied them all the same). Used by
    /// [`write_all_zero_copy`](crate::net::TcpStream::write_all_zero_copy) alone.
    ZeroCopy = "zero-copy";
    /// splice(2) through pipes: relays move bulk inside the kernel. On every backend of Linux, and
    /// the only one of these features that has nothing to do with the ring.
    Splice = "splice";
}

impl Feature {
    /// The operation that it stands for, if that is what it is.
    pub(crate) fn operation(self) -> Option<Code> {
        match self {
            Feature::MultishotAccept => Some(Code::AcceptMulti),
            Feature::MultishotRecv => Some(Code::RecvMulti),
            Feature::ZeroCopy => Some(Code::SendZc),
            _ => None,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Feature {
    type Err = ParseNameError;

    fn from_str(name: &str) -> Result<Feature, ParseNameError> {
        let find = Feature::ALL.iter().find(|feature| feature.name() == name);
        let known = Feature::ALL.iter().map(|feature| feature.name());
        find.copied().ok_or_else(|| ParseNameError::new("feature", name, known))
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Features(u32);

impl Features {
    pub(crate) fn all() -> Features {
        Features(Feature::ALL.iter().fold(0, |bits, &feature| bits | 1 << feature as u32))
    }

    pub(crate) fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u32 != 0
    }

    pub(crate) fn remove(&mut self, feature: Feature) {
        self.0 &= !(1 << feature as u32);
    }
}

/// What a core's driver is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Forced by the builder.
    pub(crate) backend: Option<Backend>,
    /// Features that may be used.
    pub(crate) features: Features,
    /// Opcodes that the ring is to refuse.
    pub(crate) forbidden: Vec<Code>,
    pub(crate) submission_entries: u32,
    pub(crate) completion_entries: u32,
    /// Buffers, unless the backend's default is good.
    pub(crate) pool: Option<PoolConfig>,
    /// How long to look for completions before sleeping, at most: what a wake-up costs, or what the
    /// builder says.
    pub(crate) spin: Duration,
    /// How long a task may hold its core unnoticed.
    pub(crate) stall_limit: Option<Duration>,
    /// Whether other threads can read the counters.
    pub(crate) watched: bool,
    /// Seed of the fault decorator.
    pub(crate) faults: Option<u64>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            backend: None,
            features: Features::all(),
            forbidden: Vec::new(),
            submission_entries: 256,
            completion_entries: 4096,
            pool: None,
            spin: Duration::ZERO,
            stall_limit: None,
            watched: true,
            faults: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for feature in Feature::ALL {
            assert_eq!(feature.name().parse(), Ok(*feature));
        }
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
        assert!(Backend::SUPPORTED.iter().all(|backend| Backend::ALL.contains(backend)));
        let error = "io_uring".parse::<Backend>().unwrap_err().to_string();
        assert!(error.starts_with("`io_uring` is not a backend: it must be one of "), "{error}");
        assert!(error.ends_with("poll, select"), "{error}");
    }
}
