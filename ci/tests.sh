#!/usr/bin/env bash
# The tests, for everybody who runs them: all of them as an ordinary user, as the README says; what takes
# root, as root; and where io_uring is forbidden, a choice. Each time nothing may be skipped but what is
# named here.
# Usage: ci/tests.sh [COMMAND]        the README's, `cargo test`, if none is given
source "$(dirname "$0")/lib.sh"

# What takes root: to be a user to whom nobody else's locked memory is charged.
privileged=(
    uring::fixed_buffers_are_plain_where_memory_cannot_be_locked
    uring::little_locked_memory_makes_the_rings_smaller
    uring::the_probe_leaves_no_memory_charged
    uring::the_probe_names_a_limit_with_room_for_a_small_ring
    uring::the_probe_needs_no_privileges
)
# Other people's programs: the benchmarks are tried with those that are there, and can do it.
programs='(go|haproxy|haproxy-copy|nginx|nginx-64k): (no [^ ]+ here$|[^ ]+ ended with )'

# all WHAT: the sum of these in the closing lines.
all() {
    sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$work/tests.log" |
        awk '{ sum += $1 } END { print sum + 0 }'
}

# run COMMAND...: runs tests. What they skipped is in $skipped, a reason in a line; a test that is ignored
# without a word is a failure.
run() {
    "$@" 2>&1 | tee "$work/tests.log"
    say 'the closing lines'
    grep -E '^test result' "$work/tests.log"
    (($(all passed) > 0)) || fail 'nothing was run'
    skipped=$(sed -n 's/^SKIPPED //p' "$work/tests.log" | grep -vE "^$programs" || true)
    local told
    told=$(awk '$2 == "trials," { sum += $1 } END { print sum + 0 }' <<<"$skipped")
    [[ $(all ignored) == "$told" ]] || fail "$(all ignored) tests are ignored, of which $told are told"
}

# Where io_uring cannot be used the suite skips it; here that would hide the most important.
export RINGPARK_TESTS_REQUIRE_URING=1

say 'building'
# As whoever runs this: a user of its own may not write to where crates are downloaded to.
cargo test --no-run

read -ra command <<<"${1-cargo test}"
say "${command[*]}, as an ordinary user"
run ci/user.sh "${command[@]}"
[[ $skipped =~ ^"${#privileged[@]} trials, because "[^:]+": ${privileged[*]}"$ ]] ||
    fail "skipped is what should not be, or not what should: $skipped"
ok "what takes root is skipped, and nothing else"

if ((EUID == 0)); then
    say 'io_uring as it comes, with what takes root, as root'
    run cargo test --test behaviours -- uring::
    [[ -z $skipped ]] || fail "root skips something: $skipped"
    for name in "${privileged[@]}"; do
        grep -qE "^test $name +\.\.\. ok" "$work/tests.log" || fail "$name was not run"
    done
    ok 'nothing is skipped'
else
    echo "SKIPPED, for want of root: ${privileged[*]}" >&2
fi

unset RINGPARK_TESTS_REQUIRE_URING
forbidden() {
    say "$1 for io_uring: ${*:2}"
    run ci/user.sh python3 ci/seccomp.py "$@"
    skipped=$(grep -vE 'uring' <<<"$skipped" || true)
    [[ -z $skipped ]] || fail "skipped without need: $skipped"
}
for answer in EPERM ENOSYS; do
    # The unit tests; the choice of a backend and the probe; epoll and poll.
    forbidden "$answer" cargo test --lib
    forbidden "$answer" cargo test --test behaviours -- once::
done
forbidden EPERM cargo test --test behaviours -- poll::
# And of trials on every backend those on io_uring are skipped, with a count.
forbidden EPERM cargo test --test behaviours -- a_pool_of_four
