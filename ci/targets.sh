#!/usr/bin/env bash
# The other systems: types and lints of the library and the command line for the BSDs, macOS, and Linux
# on other processors. Nothing is linked or run.
# Usage: ci/targets.sh [TARGET...]
# Takes about three minutes the first time, for the standard library of each target is checked too, and
# seconds from then on. It needs no nightly compiler: the stable one is told to act as one.
source "$(dirname "$0")/lib.sh"

targets=(
    x86_64-unknown-freebsd
    aarch64-apple-darwin x86_64-apple-darwin
    x86_64-unknown-openbsd
    x86_64-unknown-netbsd
    aarch64-unknown-linux-gnu i686-unknown-linux-gnu
)
(($# == 0)) || targets=("$@")

say 'the source of the standard library'
standard_library
ok "$library"

export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$library
export CARGO_TARGET_DIR=$target/targets CARGO_INCREMENTAL=0
# Nothing is run, so nothing is optimized, described or even generated.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0 RUSTFLAGS=-Zno-codegen

# lint TARGET...: clippy, all of them at once.
lint() {
    # Where a system has no thread-locals of its own (OpenBSD), clippy does not see that ours are constant.
    cargo clippy -p ringpark -p ringpark-cli --lib --bins -Zbuild-std=std "${@/#/--target=}" -- \
        -D warnings -A clippy::missing_const_for_thread_local
    for name in "$@"; do ok "$name"; done
}

say 'clippy'
wide=() narrow=()
for name in "${targets[@]}"; do
    # The io-uring crate must be told that its tables hold for words of 32 bits too.
    case $name in
        i?86-*-linux-* | arm*-linux-*) narrow+=("$name") ;;
        *) wide+=("$name") ;;
    esac
done
((${#wide[@]} == 0)) || lint "${wide[@]}"
((${#narrow[@]} == 0)) || RUSTFLAGS+=' --cfg=io_uring_skip_arch_check' lint "${narrow[@]}"
