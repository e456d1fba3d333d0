#!/usr/bin/env bash
# What a release would be: both packages build from what they include, the README's links hold where it is
# shown without the repository, nothing in the interface breaks what was released, and the workspace of the
# peers, which has a lock of its own, still builds. Usage: ci/packages.sh. Needs the network, and python3.
source "$(dirname "$0")/lib.sh"

say 'cargo publish --dry-run'
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0
cargo publish --dry-run --locked --allow-dirty -p ringpark -p ringpark-cli 2>&1 | tee "$work/publish.log"
# A package knows nothing of the workspace's other members.
expected='aborting upload due to dry run|profile package spec `ringpark-tests`'
warnings=$(grep '^warning' "$work/publish.log" | grep -vE "$expected" || true)
[[ -z $warnings ]] || fail "$warnings"
ok 'both packages build by themselves'

say 'what is in them'
for folder in . cli; do
    name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$folder/Cargo.toml" | head -n 1)
    cargo package --list --allow-dirty -p "$name" >"$work/list"
    python3 - "$folder" "$work/list" <<'PYTHON'
import os, re, subprocess, sys

folder, names = sys.argv[1], open(sys.argv[2]).read().split("\n")
for name in ("LICENSE-MIT", "LICENSE-APACHE", "README.md"):
    if name not in names:
        sys.exit(f"{name} is not in the package in {folder}")
text = open(f"{folder}/README.md").read()
links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^\[[^]]+\]: (\S+)", text, re.M)
repository = "https://github.com/ringpark/ringpark/blob/main/"
for link in links:
    path = link.split("#")[0]
    if path.startswith(repository):
        path = path.removeprefix(repository)
        if not subprocess.run(["git", "ls-files", "--error-unmatch", path], capture_output=True).stdout:
            sys.exit(f"{folder}/README.md: {link} is not in the repository")
    elif path and not path.startswith("https://") and os.path.normpath(path) not in names:
        sys.exit(f"{folder}/README.md: {link} is not in the package; link to {repository}{path}")
print(f"   {folder}: {len(names) - 1} files, {len(links)} links")
PYTHON
done
ok 'licenses and READMEs are in them, and every link of a README leads somewhere'

say 'the workspace of the peers'
peers=(--manifest-path bench/peers/Cargo.toml)
cargo fmt "${peers[@]}" -- --check
CARGO_TARGET_DIR=$target/peers cargo clippy --locked "${peers[@]}" --all-targets -- -D warnings
ok 'it is formatted, and builds'

say 'cargo-semver-checks'
release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
if [[ -z $release ]]; then
    ok 'nothing was released yet: there is nothing to break'
elif ! cargo semver-checks --version 2>/dev/null; then
    echo 'SKIPPED: cargo-semver-checks: try cargo install cargo-semver-checks' >&2
    exit 77
else
    cargo semver-checks -p ringpark --baseline-rev "$release"
fi
