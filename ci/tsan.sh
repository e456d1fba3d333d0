#!/usr/bin/env bash
# The thread sanitizer over the part of the behaviour suite in which cores and foreign threads meet: wakes,
# tasks and streams that go to another core, the inbox, helper threads, counters and dumps that other
# threads read, the stall detector, the end of all cores. An access that races with another fails the run.
# Usage: ci/tsan.sh [FILTER...]        the filters are of cargo test; without any, a chosen list
# It runs by hand: the first build takes five minutes or more, the list some ten. The backtrace of the stall
# detector is left out, since the sanitizer keeps signals from their handlers. It needs no nightly compiler: the stable
# one is told to act as one, and builds the standard library too, whose own accesses must be seen.
source "$(dirname "$0")/lib.sh"

host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
    x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
    *) fail "the thread sanitizer is not known to work on $host" ;;
esac

say 'the source of the standard library'
standard_library
ok "$library"

chosen=(
    wakes_ cores_ main_runs_once tasks_for too_many a_remote_task a_panic_on
    a_task_is_spawned a_task_on_another a_foreign_thread work_that_may blocking_
    a_tokio_ a_futures_ an_async_ a_flume_
    a_stream_moves a_numbered_stream_survives one_acceptor the_acceptor_that
    a_lease_may_be a_lease_returned connections_finish what_has_not counters_ a_dump_
)
(($# == 0)) || chosen=("$@")

export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread __CARGO_TESTS_ONLY_SRC_ROOT=$library
export CARGO_TARGET_DIR=$target/tsan CARGO_INCREMENTAL=0
# A child that finds a race says so and fails at its end.
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 ${TSAN_OPTIONS:-}"
export RINGPARK_TESTS_JOBS=${RINGPARK_TESTS_JOBS:-2}

say 'building with the thread sanitizer'
cargo test -Zbuild-std --target "$host" -p ringpark-tests --no-run
for filter in "${chosen[@]}"; do
    say "$filter"
    cargo test --quiet -Zbuild-std --target "$host" -p ringpark-tests -- "$filter" --skip once:: >"$work/tsan.log" 2>&1 ||
        { cat "$work/tsan.log"; fail "$filter under the thread sanitizer"; }
    summary=$(grep -E '^test result:' "$work/tsan.log") || fail "$filter: no trial was run"
    [[ $summary != *' 0 passed'* ]] || fail "$filter: no trial was run"
    ok "$summary"
done
