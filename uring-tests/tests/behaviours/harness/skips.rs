//! What cannot be put to the test on this machine, or by this user, and why. It is told at the end,
//! with a count, so that nobody takes a trial that was skipped for one that was passed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use libtest_mimic::{Completion, Failed};

use super::variant::{On, Variant};
use super::{sys, trial, Behaviour};

/// Makes it a failure that io_uring is refused.
const ENV_REQUIRE_URING: &str = "RINGPARK_TESTS_REQUIRE_URING";

/// More names than this tell less than their number does.
const NAMES_MAX: usize = 20;

/// The trials that were skipped, by the reason.
static SKIPPED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// What this machine and this user keep from the trials.
#[derive(Default)]
pub struct Skips {
    /// Why io_uring is refused.
    no_uring: Option<Skip>,
    /// Why no trial can be a user of its own.
    no_own_user: Option<Skip>,
}

/// Why a trial is skipped.
#[derive(Clone)]
pub struct Skip {
    reason: String,
    is_failure: bool,
}

impl Skips {
    /// Finds out.
    pub fn here(seed: u64) -> Skips {
        let is_failure = std::env::var_os(ENV_REQUIRE_URING).is_some_and(|value| value != "0");
        let no_uring = trial::why_no_uring(seed).map(|reason| {
            let reason = format!("io_uring is refused here: {reason}");
            Skip { reason, is_failure }
        });
        let no_own_user = (!sys::is_root()).then(|| {
            Skip::because("only root can give a trial a user, and locked memory is a user's")
        });
        Skips { no_uring, no_own_user }
    }

    /// Why this behaviour cannot be put to the test on this variant, if it cannot.
    pub fn why(&self, behaviour: &Behaviour, variant: &Variant) -> Option<Skip> {
        let uring = self.no_uring.as_ref().filter(|_| variant.needs_uring());
        let own_user = self.no_own_user.as_ref().filter(|_| behaviour.on == On::OwnUser);
        let impossible = || variant.impossible(behaviour.name).map(Skip::because);
        uring.or(own_user).cloned().or_else(impossible)
    }
}

impl Skip {
    fn because(reason: &str) -> Skip {
        Skip { reason: reason.to_owned(), is_failure: false }
    }

    /// What becomes of the trial of this name.
    pub fn outcome(self, name: String) -> Result<Completion, Failed> {
        if self.is_failure {
            return Err(Failed::from(self.reason));
        }
        let mut skipped = SKIPPED.lock().expect("no trial panics while it holds this");
        skipped.entry(self.reason.clone()).or_default().push(name);
        Ok(Completion::ignored_with(self.reason))
    }
}

/// Prints how many were skipped, and why.
pub fn tell() {
    for (reason, names) in &mut *SKIPPED.lock().expect("no trial panics while it holds this") {
        names.sort();
        let named = match names.len() > NAMES_MAX {
            true => String::new(),
            false => format!(": {}", names.join(" ")),
        };
        println!("SKIPPED {} trials, because {reason}{named}", names.len());
    }
}
