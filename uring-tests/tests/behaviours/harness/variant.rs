//! The variants: the forms of ringpark that every promise must hold on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ringpark::runtime::Feature;
use ringpark::{Backend, Builder};

use super::log;

/// Sets the seed of all random choices.
pub const ENV_SEED: &str = "RINGPARK_TESTS_SEED";

/// Which variants a behaviour is run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// All.
    Every,
    /// All but those with injected faults.
    Faultless,
    /// The backends of this system as they come.
    Plain,
    /// io_uring as it comes and without each feature.
    Uring,
    /// io_uring as it comes.
    PlainUring,
    /// The same, as a user of its own, whose locked memory is nobody else's: that takes root.
    OwnUser,
    /// No variant in particular: the test chooses its backends itself.
    Once,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain(Backend),
    Without(Feature),
    Faults(Backend),
    Spinning(Backend),
    Once,
}

/// One form of ringpark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant(Kind);

/// What cannot be on a backend, and why. The README's table of platforms says so too.
const IMPOSSIBLE: &[(Backend, &str, &str)] =
    &[(Backend::Kqueue, "an_eventfd_can_be_read_and_written", NO_EVENTFD)];

/// Those that are run with cores that look for work before they sleep: two that differ in how they
/// look.
const SPINNING: &[Backend] = &[Backend::Uring, Backend::Epoll];

/// How long these look: longer than a machine needs to bring the next message.
const SPIN: Duration = Duration::from_micros(50);

const NO_EVENTFD: &str = "libkqueue cannot wait for an eventfd, which is Linux's own";

impl Variant {
    /// Why a behaviour cannot be put to the test here, if it cannot.
    pub fn impossible(&self, behaviour: &str) -> Option<&'static str> {
        let here = |name: &str, backend| {
            name == behaviour && self.0 != Kind::Once && self.backend() == backend
        };
        IMPOSSIBLE.iter().find(|(backend, name, _)| here(name, *backend)).map(|row| row.2)
    }

    /// The variants that a behaviour is run on.
    pub fn all(on: On) -> Vec<Variant> {
        let plain = Backend::SUPPORTED.iter().copied().map(Kind::Plain);
        let without = Feature::ALL.iter().copied().map(Kind::Without);
        let faults = Backend::SUPPORTED.iter().copied().map(Kind::Faults);
        let spinning = SPINNING.iter().copied().map(Kind::Spinning);
        let kinds: Vec<Kind> = match on {
            On::Every => plain.chain(without).chain(spinning).chain(faults).collect(),
            On::Faultless => plain.chain(without).chain(spinning).collect(),
            On::Plain => plain.collect(),
            On::Uring => std::iter::once(Kind::Plain(Backend::Uring)).chain(without).collect(),
            On::PlainUring | On::OwnUser => vec![Kind::Plain(Backend::Uring)],
            On::Once => vec![Kind::Once],
        };
        kinds.into_iter().map(Variant).collect()
    }

    /// The backend that runs.
    pub fn backend(&self) -> Backend {
        match self.0 {
            Kind::Plain(backend) | Kind::Spinning(backend) | Kind::Faults(backend) => backend,
            Kind::Without(_) => Backend::Uring,
            Kind::Once => panic!("a test that is run once chooses its backends itself"),
        }
    }

    /// Whether it cannot run without io_uring.
    pub fn needs_uring(&self) -> bool {
        self.0 != Kind::Once && self.backend() == Backend::Uring
    }

    /// Whether faults are injected, so that nothing is prompt.
    pub fn has_faults(&self) -> bool {
        matches!(self.0, Kind::Faults(_))
    }

    /// Whether it runs without this feature: all but one are of io_uring.
    pub fn lacks(&self, feature: Feature) -> bool {
        self.0 == Kind::Without(feature) || (feature != Feature::Splice && !self.needs_uring())
    }

    /// The whole amount on the plain backends; a tenth on the others, which differ in less; fewer
    /// still with faults, which make everything take long.
    pub fn scale(&self, full: u64) -> u64 {
        let divisor = match self.0 {
            // It has room for few descriptors.
            Kind::Plain(Backend::Select) => 10,
            Kind::Plain(_) | Kind::Once => 1,
            Kind::Without(_) | Kind::Spinning(_) => 10,
            Kind::Faults(_) => 20,
        };
        (full / divisor).max(1)
    }

    /// A random source for this trial, from the seed of the run.
    pub fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed())
    }

    /// A seed for this trial, from the seed of the run.
    pub fn seed(&self) -> u64 {
        let name = std::env::var(super::trial::ENV_TRIAL).unwrap_or_default();
        let run = seed_from_env().unwrap_or_default();
        // The FNV hash of the name: another seed for every trial of a run.
        name.bytes().fold(run ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// A builder for a runtime of this variant.
    pub fn builder(&self) -> Builder {
        let builder = Builder::new().backend(self.backend());
        match self.0 {
            Kind::Plain(_) | Kind::Once => builder,
            Kind::Without(feature) => builder.without(feature),
            Kind::Spinning(_) => builder.spin(SPIN),
            // One or the other, whatever the machine: this part of the seed decides nothing else.
            Kind::Faults(_) if self.seed() >> 63 == 0 => builder.faults(self.seed()).spin(SPIN),
            Kind::Faults(_) => builder.faults(self.seed()).spin(Duration::ZERO),
        }
    }

    /// Runs `main` on this variant, and then checks that nothing is left in flight.
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        self.run_on(self.builder(), main)
    }

    /// The same with a builder that has been told more.
    pub fn run_on<F: Future>(&self, builder: Builder, main: F) -> F::Output {
        let mut output = None;
        // Behind a pointer, so that the runtime is compiled once and not for every test.
        let checked: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async {
            assert_eq!(
                ringpark::runtime::metrics().backend,
                self.backend(),
                "another backend runs"
            );
            output = Some(main.await);
            drained().await;
        });
        if let Err(error) = builder.block_on(checked) {
            panic!("{self} does not start: {error}\n{}", log::text());
        }
        output.expect("the main future has ended")
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Plain(backend) => write!(f, "{backend}"),
            Kind::Without(feature) => write!(f, "uring-without-{feature}"),
            Kind::Spinning(backend) => write!(f, "{backend}-spinning"),
            Kind::Faults(backend) => write!(f, "{backend}-faults"),
            Kind::Once => write!(f, "once"),
        }
    }
}

/// The seed of the run, if the environment names one.
pub fn seed_from_env() -> Option<u64> {
    let text = std::env::var(ENV_SEED).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{ENV_SEED}={text} is not a number")))
}

/// Waits until the kernel has answered for everything: what is given up is cancelled promptly.
pub async fn drained() {
    for _ in 0..5000 {
        if ringpark::runtime::metrics().in_flight == 0 {
            return;
        }
        ringpark::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("operations are left in flight: {:?}", ringpark::runtime::metrics());
}
