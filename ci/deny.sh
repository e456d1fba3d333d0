#!/usr/bin/env bash
# What the packages in the lock may be: who may need whom, under which licenses, from where. The rules are
# those of deny.toml. Usage: ci/deny.sh. Needs python3 (3.11 or newer).
# The rules that must hold are checked here; where cargo-deny is installed it has its say as well. Without
# it the exit code is 77.
source "$(dirname "$0")/lib.sh"

say 'licenses, sources, bans'
cargo metadata --locked --all-features --format-version 1 >"$work/metadata.json"
python3 - "$work/metadata.json" deny.toml <<'PYTHON'
import json, re, sys, tomllib

metadata = json.load(open(sys.argv[1]))
rules = tomllib.load(open(sys.argv[2], "rb"))
members = set(metadata["workspace_members"])
packages = {package["id"]: package for package in metadata["packages"]}
wrong = []


def permitted(license):
    """Whether an SPDX expression is met by what is allowed. In old ones a slash stands for OR."""
    allowed = set(rules["licenses"]["allow"])
    words = re.findall(r"[()]|[^\s()/]+(?: WITH [^\s()/]+)?|/", license)
    meaning = {"AND": "and", "OR": "or", "/": "or", "(": "(", ")": ")"}
    return eval(" ".join(meaning.get(word) or str(word in allowed) for word in words))


for package in packages.values():
    name = f"{package['name']} {package['version']}"
    if not package["license"] or not permitted(package["license"]):
        wrong.append(f"{name}: its license is {package['license']}")
    source = (package["source"] or "").removeprefix("registry+")
    if package["id"] not in members and source not in rules["sources"]["allow-registry"]:
        wrong.append(f"{name} comes from {source or 'a folder'}")
bans = {ban["crate"]: ban["wrappers"] for ban in rules["bans"]["deny"]}
for node in metadata["resolve"]["nodes"]:
    who = packages[node["id"]]["name"]
    for needed in (packages[dep["pkg"]]["name"] for dep in node["deps"]):
        if who not in bans.get(needed, [who]):
            wrong.append(f"{who} needs {needed}, which only {', '.join(bans[needed])} may")
if wrong:
    sys.exit("\n".join(sorted(wrong)))
print(f"   {len(packages)} packages")
PYTHON
ok 'each package has a license that is allowed, comes from crates.io, and is needed by who may need it'

say 'cargo-deny'
if ! cargo deny --version 2>/dev/null; then
    echo 'SKIPPED: cargo-deny: try cargo install cargo-deny' >&2
    exit 77
fi
cargo deny check bans licenses sources
