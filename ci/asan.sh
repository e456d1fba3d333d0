#!/usr/bin/env bash
# The address sanitizer over the part of the behaviour suite in which memory and the kernel could
# part ways: cancellation, buffers, the runtime's end. A use after free, also by the kernel into
# memory that was reused, and a leak fail the run.
# Usage: ci/asan.sh [FILTER...]        the filters are of cargo test; without any, a chosen list
# Takes about three minutes. It needs no nightly compiler: the stable one is told to act as one.
source "$(dirname "$0")/lib.sh"

host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *) fail "the address sanitizer is not known to work on $host" ;;
esac

chosen=(
    runtime_dropped with_the_runtime outlives_its a_task_dropped_at_the_end
    dropped_reads_lose_nothing dropped_accepts_lose_no_connection
    faults::random_cancel_points no-sqarray::random_cancel_points faults::a_pool_ no-sqarray::a_pool_
    a_buffer_ a_lease_ close_wakes a_dropped_ abort
    writers_of_one_handle recv_read_and_peek a_completion_queue
)
(($# == 0)) || chosen=("$@")

export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
# Freed memory is kept from reuse for a while, which is how its use is noticed: 64 MiB of it for each
# trial, and two trials at a time, fit into a small machine.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:quarantine_size_mb=64
export RINGPARK_TESTS_JOBS=${RINGPARK_TESTS_JOBS:-2}

say 'building with the address sanitizer'
cargo test --target "$host" -p ringpark-tests --no-run
for filter in "${chosen[@]}"; do
    say "$filter"
    cargo test --quiet --target "$host" -p ringpark-tests -- "$filter" >"$work/asan.log" 2>&1 ||
        { cat "$work/asan.log"; fail "$filter under the address sanitizer"; }
    summary=$(grep -E '^test result:' "$work/asan.log") || fail "$filter: no trial was run"
    [[ $summary != *' 0 passed'* ]] || fail "$filter: no trial was run"
    ok "$summary"
done
