//! The line that says which ring a core has got.

use super::{refusal, setup, Uring};
use crate::driver::{Backend, Config, Feature};

impl Uring {
    /// Logs the ring's flags and sizes, what the kernel lacks, and why it was chosen.
    pub(in crate::driver) fn log(&self, config: &Config, reason: &str) {
        let (features, refused, [submission, completion]) = self.describe();
        let names = |features: &[Feature]| {
            features.iter().map(|feature| feature.name()).collect::<Vec<_>>().join("|")
        };
        let missing: Vec<String> = self
            .missing()
            .map(|code| format!("{} (Linux {})", code.name(), code.row().kernel))
            .collect();
        let mut notes = Vec::new();
        if !refused.is_empty() {
            notes.push(format!("refused by the kernel: {}", names(refused)));
        }
        if !missing.is_empty() {
            notes.push(format!("polled and attempted: {}", missing.join(", ")));
        }
        if submission < config.submission_entries.next_power_of_two() {
            let needed = setup::locked_bytes(config.submission_entries, config.completion_entries);
            notes.push(refusal::memory(needed));
        }
        tracing::info!(
            target: "ringpark",
            backend = %Backend::Uring,
            flags = names(&features),
            entries = format_args!("{submission}/{completion}"),
            notes = notes.join("; "),
            reason,
            "core started"
        );
    }
}
