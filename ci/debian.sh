#!/usr/bin/env bash
# Fetches packages out of another Debian suite, without touching what is installed here.
# Usage: ci/debian.sh FOLDER SUITE PACKAGE[=VERSION-PREFIX]...
# Unpacks the newest version of each that begins with the prefix into FOLDER. Exit code 77, with a line
# that says why, where that is not to be had: mirrors forget versions, and not every machine is a Debian.
set -euo pipefail

folder=$1 suite=$2
shift 2
skip() {
    printf 'not to be had: %s\n' "$*" >&2
    exit 77
}
for program in apt-get apt-cache dpkg; do
    command -v "$program" >/dev/null || skip "$program is missing: this is no Debian"
done
mirror=$(sed -n 's/^URIs: *//p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1 || true)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -n $mirror && -e $keys ]] || skip 'apt knows no mirror of Debian'

# Lists and a cache of our own.
state=$folder/.apt-$suite
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
state=$(cd "$state" && pwd)
echo "deb [signed-by=$keys] ${mirror%/} $suite main" >"$state/sources.list"
options=(-qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update || skip "the lists of $suite"

cd "$state"
for wanted in "$@"; do
    name=${wanted%%=*} prefix=
    [[ $wanted == *=* ]] && prefix=${wanted#*=}
    version=$(apt-cache "${options[@]}" madison "$name" |
        awk -F '|' '{ gsub(/ /, "", $2); print $2 }' |
        awk -v prefix="$prefix" 'index($0, prefix) == 1' | sort -V | tail -n 1)
    [[ -n $version ]] || skip "$name $prefix in $suite"
    apt-get "${options[@]}" download "$name=$version" || skip "$name $version"
    for package in "$name"_*.deb; do
        dpkg -x "$package" ..
        rm "$package"
    done
done
