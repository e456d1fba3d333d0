#!/usr/bin/env bash
# `rust-version` is true: no package in the lock wants more than the one that needs it promises, and the
# library, the command line and the suite build with that very compiler.
# Usage: ci/msrv.sh. Where the compiler is not to be had, from rustup or from Debian, exit code 77 says that
# the second half was left out.
source "$(dirname "$0")/lib.sh"

say 'the lock'
cargo metadata --locked --format-version 1 >"$work/metadata.json"
python3 - "$work/metadata.json" <<'PYTHON'
import json, sys

metadata = json.load(open(sys.argv[1]))
packages = {package["id"]: package for package in metadata["packages"]}
needs = {node["id"]: [dep["pkg"] for dep in node["deps"]] for node in metadata["resolve"]["nodes"]}
number = lambda version: tuple(int(part) for part in (version.split(".") + ["0", "0"])[:3])
wrong = []
for member in metadata["workspace_members"]:
    promised = packages[member]["rust_version"]
    if promised is None:
        sys.exit(f"{packages[member]['name']} promises no rust-version")
    seen, new = set(), [member]
    while new:
        one = new.pop()
        if one not in seen:
            seen.add(one)
            new += needs[one]
    for one in seen:
        wants = packages[one]["rust_version"] or "1.0"
        if number(wants) > number(promised):
            wrong.append(f"{packages[member]['name']} promises Rust {promised}, and "
                         f"{packages[one]['name']} {packages[one]['version']} wants {wants}")
    print(f"   {packages[member]['name']}: {len(seen)} packages, Rust {promised} and newer")
if wrong:
    sys.exit("\n".join(wrong))
PYTHON
ok 'every package in it is built by the Rust that is promised'

# What the README says is what Cargo.toml says.
promised=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
grep -q "^Rust $promised or newer" README.md || fail "the README does not say Rust $promised"
ok "the README says Rust $promised as well"

say "Rust $promised"
if rustup run "$promised" rustc --version >/dev/null 2>&1 ||
    rustup toolchain install --profile minimal "$promised" >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=$promised
else
    # Debian has one compiler for each of its releases. It runs with the libraries of its release.
    folder=$target/rust-$promised
    loader=usr/lib64/ld-linux-x86-64.so.2
    if [[ ! -e $folder/usr/bin/rustc ]]; then
        ci/debian.sh "$folder" trixie "rustc=$promised." "libstd-rust-dev=$promised." "libstd-rust-$promised=$promised." \
            libllvm19 libc6 libgcc-s1 libstdc++6 zlib1g libzstd1 libxml2 libedit2 libffi8 libz3-4 \
            libtinfo6 libbsd0 libmd0 liblzma5 libicu76 || rm -rf "$folder"
    fi
    if [[ ! -e $folder/$loader ]]; then
        echo "SKIPPED: Rust $promised: try rustup toolchain install $promised" >&2
        exit 77
    fi
    folder=$(cd "$folder" && pwd)
    cat >"$work/rustc" <<SH
#!/bin/sh
exec $folder/$loader --library-path $folder/usr/lib/x86_64-linux-gnu $folder/usr/bin/rustc --sysroot $folder/usr "\$@"
SH
    chmod +x "$work/rustc"
    export RUSTC=$work/rustc
fi
export CARGO_TARGET_DIR=$target/msrv CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
cargo check --locked --all-targets
ok "library, command line, examples and the suite, with $(${RUSTC:-rustc} --version)"
