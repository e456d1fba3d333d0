#!/usr/bin/env bash
# The kqueue selector, run here: the behaviour suite on it, and its unit tests, through libkqueue, which
# does with epoll what a BSD's kernel does. It proves what ringpark does with events; that a BSD's events
# are what they are taken for, no Linux can prove.
# Usage: ci/kqueue.sh [FILTER]        the filter is of cargo test: kqueue:: without faults, say
# Takes about two minutes, and building twice that.
source "$(dirname "$0")/lib.sh"

say 'libkqueue'
folder=$target/libkqueue
if [[ ! -e $folder/ready/libkqueue.a ]]; then
    command -v objcopy >/dev/null || { echo 'SKIPPED: objcopy is missing' >&2; exit 77; }
    code=0
    ci/debian.sh "$folder" experimental libkqueue-dev || code=$?
    if ((code != 0)); then
        echo 'SKIPPED: the library libkqueue of Debian experimental' >&2
        exit 77
    fi
    archive=$(find "$folder/usr" -name libkqueue.a)
    mkdir -p "$folder/ready"
    # The library shall not take a socket's error away: see src/sys/libkqueue.rs.
    objcopy --redefine-sym getsockopt=ringpark_getsockopt "$archive" "$folder/ready/libkqueue.a"
fi
folder=$(cd "$folder/ready" && pwd)
ok "$folder/libkqueue.a"

export RUSTFLAGS="--cfg ringpark_kqueue -L native=$folder" CARGO_TARGET_DIR=$target/kqueue

say 'the selector by itself'
cargo test -p ringpark --lib -- kqueue

say 'the behaviour suite on kqueue'
cargo test -p ringpark-tests -- "${1:-kqueue}"
