#!/usr/bin/env bash
# What can be told from the text alone: format, lints, documentation, where `unsafe` stands and that
# each has its proof, that the README's example is the example that is built, that every promise has its
# test, and that what comments name is there.
# Usage: ci/lint.sh
source "$(dirname "$0")/lib.sh"

say 'rustfmt'
cargo fmt --all -- --check
ok 'every file is formatted'

say 'clippy'
cargo clippy --workspace --all-targets --all-features -- -D warnings

say 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

say 'unsafe code'
# Tests may be unsafe where they must, but the library's own code only in these places.
allowed='^src/(sys|op|driver|buf|probe/trial)/|^src/runtime/task(\.rs|/)|^src/handle/helped\.rs'
unsafe_code='(^|[^[:alnum:]_"`])unsafe[[:space:]]*(\{|fn|impl|extern|trait|$)'
outside=$(git ls-files 'src/*.rs' 'examples/*.rs' | grep -vE "$allowed" |
    xargs grep -nE "$unsafe_code" | grep -vE ':[[:space:]]*//' || true)
[[ -z $outside ]] || fail "unsafe code outside of its places:"$'\n'"$outside"
ok 'unsafe code stands only where it may'
while read -r file; do
    blocks=$(grep -vE '^[[:space:]]*//' "$file" |
        grep -cE '(^|[^[:alnum:]_"`])unsafe[[:space:]]*(\{|impl)' || true)
    proofs=$(grep -cE '//[/!]*[[:space:]]*SAFETY:' "$file" || true)
    ((proofs >= blocks)) || fail "$file: $blocks unsafe blocks, $proofs SAFETY proofs"
done < <(git ls-files '*.rs')
ok 'every unsafe block has its proof'

say 'time'
# All time comes from src/timer/clock.rs. What measures the machine reads its clock itself, and so does
# sys, which stands below; tests may. Tests stand last in a file.
own_clock='^src/(timer/clock\.rs|sys/|probe/|driver/uring/(trial|checks)\.rs)|/(tests|models)\.rs$'
outside=$(git ls-files 'src/*.rs' | grep -vE "$own_clock" |
    xargs awk 'FNR == 1 { tests = 0 } /^#\[cfg\((all\()?test/ { tests = 1 }
        !tests && !/^[[:space:]]*\/\// && /(Instant|SystemTime)::now|coarse_now/ {
            print FILENAME ":" FNR ": " $0 }')
[[ -z $outside ]] || fail "time that does not come from src/timer/clock.rs:"$'\n'"$outside"
ok 'all time comes from one clock'

say 'the README'
# The first Rust block of the README is examples/hello.rs without the comment on top.
diff <(awk '/^```rust/ { inside = 1; next } /^```/ { if (inside) exit } inside' README.md) \
    <(sed -e '/^\/\/!/d' examples/hello.rs | sed -e '1{/^$/d}') ||
    fail 'the example in the README is not examples/hello.rs'
ok 'its example is the one that is built'

say 'the promises'
python3 ci/promises.py

say 'the floors'
python3 ci/floors.py

say 'the platform'
# What the system calls things stands below: in sys, in the backends, and where the probe asks the kernel.
below='^src/(sys|driver/(uring|ready)|probe/(checks|trial))/|/(tests|models)\.rs$'
named=$(git ls-files 'src/*.rs' | grep -vE "$below" |
    xargs awk 'FNR == 1 { tests = 0 } /^#\[cfg\((all\()?test/ { tests = 1 }
        !tests && !/^[[:space:]]*\/\// && /(^|[^[:alnum:]_])(libc::|std::os::fd)/ {
            print FILENAME ":" FNR ": " $0 }')
[[ -z $named ]] || fail "named past the seam (sys::fd, sys::errno, sys::abi):"$'\n'"$named"
ok 'descriptors, errors and constants of the system are named in sys alone'

say 'names in comments and documents'
python3 ci/names.py
