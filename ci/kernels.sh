#!/usr/bin/env bash
# Boots real kernels under emulation, each with a static build as its only program, and runs in each
# the probe, the echo example and a part of the behaviour suite. What the probe says must be what is
# known of that kernel (docs/kernels/*.json), and what it chooses must be what runs there.
# Usage: ci/kernels.sh [--update] [KERNEL ...]. KERNEL is 5.10, 6.1, 6.12 or newest; all, if none is
# named. --update writes what the probe says to docs/kernels/, and the table to docs/kernels.md.
# Needs leave to install packages, or qemu-system-x86_64, cpio, busybox, apt and python3. The kernels
# are those of Debian; one that cannot be downloaded is skipped, loudly, and the exit code is 77.
source "$(dirname "$0")/lib.sh"

update=
[[ ${1-} != --update ]] || { update=1 && shift; }
kernels=("$@")
((${#kernels[@]} > 0)) || kernels=(5.10 6.1 6.12 newest)

# How long one boot may take, in seconds: an emulated kernel is some 25 times slower.
patience=${KERNELS_PATIENCE:-150}
# The part of the behaviour suite: what starts every backend and does everything once on it.
behaviours=(the_environment_forces_a_backend the_probe_s_verdict_follows
    uring::a_listener_can_be_shared_with_any_other_backend)

say 'what it needs'
missing=()
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86 seabios)
command -v cpio >/dev/null || missing+=(cpio)
[[ -x /bin/busybox ]] || missing+=(busybox-static)
if ((${#missing[@]} > 0)); then
    install_packages "${missing[@]}" ||
        { echo "SKIPPED: every kernel, because ${missing[*]} cannot be installed" >&2; exit 77; }
fi
ok 'it is there'

say 'a static build'
triple=x86_64-unknown-linux-gnu
built=${CARGO_TARGET_DIR:-target}/kernels
build() {
    CARGO_TARGET_DIR=$built RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_DEV_DEBUG=0 \
        cargo "$1" --target "$triple" "${@:2}"
}
build build --bin ringpark --example echo
suite=$(build test -p ringpark-tests --no-run --message-format=json |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "behaviours":
        print(message["executable"])')
[[ -x $suite ]] || fail 'the behaviour suite has no program'

# The files that are the same for all kernels.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc}
cp /bin/busybox "$root/bin/busybox"
for file in "$built/$triple/debug/ringpark" "$built/$triple/debug/examples/echo" "$suite"; do
    name=${file##*/}
    strip -o "$root/bin/${name%%-*}" "$file"
done
cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
ip link set lo up
export PATH=/bin NO_COLOR=1
echo "=== release"; uname -r
echo "=== json"; ringpark probe --json 2>&1
echo "=== page"; ringpark probe 2>&1
echo "=== echo"
/bin/echo-example 127.0.0.1:7000 >/tmp/echo.log 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    grep -q 'listening on' /tmp/echo.log && break
    sleep 0.5
done
echo "answer=\$(/bin/busybox echo hello from \$(uname -r) | nc -w 5 127.0.0.1 7000)"
cat /tmp/echo.log
for name in ${behaviours[*]}; do
    echo "=== suite \$name"; RINGPARK_TESTS_JOBS=1 behaviours "\$name" 2>&1; echo "exit code \$?"
done
echo "=== end"
poweroff -f
INIT
mv "$root/bin/echo" "$root/bin/echo-example"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1 >"$work/initrd.gz")
ok "$(du -h "$work/initrd.gz" | cut -f 1) of programs"

# apt looks into another suite without a change of this system's sources.
apt_of() {
    local state=$work/apt-$1 mirror
    # The mirror that this system uses, if it is a Debian. Either file may be missing.
    mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] *)?([^ ]+).*/\2/p' |
        grep -m 1 -E '^https?:.*debian') || mirror=http://deb.debian.org/debian
    mirror=${mirror%/}
    mirror=${mirror%-security}
    [[ $1 != *-security ]] || mirror+=-security
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" \
        >"$state/sources.list"
    apt=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache"
        -o APT::Sandbox::User=root -qq)
    [[ -e $state/updated ]] || { apt-get "${apt[@]}" update && touch "$state/updated"; }
}

# kernel_of KERNEL SUITE PATTERN: the newest package that fits; its kernel goes to $work/KERNEL.vmlinuz.
kernel_of() {
    local apt package folder=$work/deb-$1 image
    apt_of "$2" || return 1
    package=$(apt-cache "${apt[@]}" pkgnames linux- | grep -xE "$3" |
        sed -E 's/^(linux-[a-z]+-)(.*)/\2 \1\2/' | sort -V | tail -n 1 | cut -d ' ' -f 2)
    [[ -n $package ]] || return 1
    mkdir -p "$folder"
    (cd "$folder" && apt-get "${apt[@]}" download "$package") || return 1
    dpkg-deb -x "$folder"/*.deb "$folder/files" || return 1
    # From 7.2 on it lies beside its modules.
    image=$(find "$folder/files" -name 'vmlinuz*' -type f | head -n 1)
    [[ -n $image ]] || { echo "$package holds no kernel" >&2; return 1; }
    cp "$image" "$work/$1.vmlinuz"
    echo "$1: $package"
}

download() {
    local cloud='[-0-9.+a-z]*-cloud-amd64'
    case $1 in
    5.10) kernel_of "$1" bullseye-security "linux-image-5\.10\.$cloud" ;;
    6.1) kernel_of "$1" bookworm-security "linux-image-6\.1\.$cloud" ||
        kernel_of "$1" bookworm "linux-image-6\.1\.$cloud" ;;
    6.12) kernel_of "$1" bookworm-security "linux-image-6\.12\.$cloud" ||
        kernel_of "$1" bookworm-backports "linux-image-6\.12\.$cloud" ;;
    newest) kernel_of "$1" trixie-backports "linux-binary-[0-9.]+$cloud" ;;
    *) fail "there is no kernel $1; there are 5.10, 6.1, 6.12 and newest" ;;
    esac
}

# boot KERNEL: its console goes to $work/KERNEL.console.
boot() {
    # With one thread for all processors: with several, one boot in ten dies.
    timeout "$patience" qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu max -smp 2 \
        -m 768 -nographic -no-reboot -nodefaults -serial stdio -kernel "$work/$1.vmlinuz" \
        -initrd "$work/initrd.gz" -append 'console=ttyS0 panic=-1 quiet' \
        </dev/null >"$work/$1.console" 2>&1
}

say 'the kernels'
there=() absent=()
for kernel in "${kernels[@]}"; do
    if download "$kernel" 2>"$work/download.log"; then
        there+=("$kernel")
    else
        absent+=("$kernel")
        cat "$work/download.log" >&2
        echo "SKIPPED: Linux $kernel, because it cannot be downloaded" >&2
    fi
done
((${#there[@]} > 0)) || exit 77

say "${there[*]}: booting"
# Two at a time, as each takes one processor.
pids=()
for kernel in "${there[@]}"; do
    ((${#pids[@]} < 2)) || { wait "${pids[0]}" || true; pids=("${pids[@]:1}"); }
    boot "$kernel" &
    pids+=("$!")
    servers+=("$!")
done
for pid in "${pids[@]}"; do wait "$pid" || true; done

for kernel in "${there[@]}"; do
    say "Linux $kernel"
    python3 ci/kernels.py check ${update:+--update} "$kernel" "$work/$kernel.console" ||
        { tail -n 40 "$work/$kernel.console" >&2; fail "Linux $kernel: see above"; }
done
if [[ -n $update ]]; then
    python3 ci/kernels.py table >docs/kernels.md
else
    diff docs/kernels.md <(python3 ci/kernels.py table) ||
        fail 'docs/kernels.md is not what the files in docs/kernels/ say'
fi
say "booted: ${there[*]}${absent[*]:+; SKIPPED: ${absent[*]}}"
((${#absent[@]} == 0)) || exit 77
