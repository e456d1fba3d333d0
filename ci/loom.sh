#!/usr/bin/env bash
# Checks the models of the cross-thread parts (models.rs in src/runtime/) in every order of steps.
set -euo pipefail
cd "$(dirname "$0")/.."

# A directory of its own: the flag would have everything else built anew each time.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
# Three switches away from a running thread find all bugs but the most exotic; without this bound
# the larger models take hours.
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"

RUSTFLAGS="--cfg loom" cargo test --package ringpark --lib models -- --nocapture
