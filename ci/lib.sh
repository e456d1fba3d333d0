# shellcheck shell=bash
# What the scripts in this folder share: a place for files, servers that are ended whatever happens,
# and bounded waiting. To be sourced. Every script stops at the first thing that is not true.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck disable=SC2034 # for the scripts that source this
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
servers=()

say() { printf '\n== %s\n' "$*"; }
ok() { printf 'ok: %s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    local log
    for log in "$work"/*.log; do
        if [[ -s $log ]]; then
            printf -- '--- the last lines of %s\n' "${log##*/}" >&2
            tail -n 20 "$log" >&2
        fi
    done
    exit 1
}

# install_packages PACKAGE...: with the system's package manager, as root.
install_packages() {
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "$@"
}

# end PID: ends one server that `start` has started, and waits for it.
end() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
end_all() {
    local pid
    for pid in "${servers[@]}"; do end "$pid"; done
    rm -rf "$work"
}
trap end_all EXIT

# start NAME COMMAND...: runs it in the background, its words in $work/NAME.log, its id in $started.
start() {
    local name=$1
    shift
    : >"$work/$name.log"
    "$@" >"$work/$name.log" 2>&1 &
    started=$!
    servers+=("$started")
}

# until_true SECONDS COMMAND...: tries it again and again, for so long at most.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

says() { grep -qE -- "$2" "$work/$1.log"; }
wait_for() {
    until_true 30 says "$1" "$2" || fail "$1 never said: $2"
}

# listening NAME: the address that a ringpark program says it listens on.
listening() {
    wait_for "$1" 'listening on '
    sed -nE 's/.*listening on ([^ ]+).*/\1/p' "$work/$1.log" | head -n 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Pipes are not counted: relays leave theirs to the next ones.
descriptors() { find "/proc/$1/fd" -mindepth 1 ! -lname 'pipe:*' | wc -l; }
has_descriptors() { [[ $(descriptors "$1") -le $2 ]]; }

# stop_proxy NAME PID: asks it to stop; it must end well and say its summary.
stop_proxy() {
    kill -TERM "$2"
    local code=0
    wait "$2" || code=$?
    ((code == 0)) || fail "$1 ended with exit code $code"
    says "$1" 'stopped; connections: ' || fail "$1 said no summary"
    sed -nE 's/.*(stopped; .*)/   \1/p' "$work/$1.log"
}

# start_nginx PORT FOLDER: a real web server with one worker.
start_nginx() {
    cat >"$work/nginx.conf" <<CONF
daemon off;
pid $work/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 8192;
$( ((EUID == 0)) && echo 'user root;')
events { worker_connections 4096; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    server {
        listen 127.0.0.1:$1 backlog=4096;
        root $2;
    }
}
CONF
    start nginx nginx -e stderr -c "$work/nginx.conf"
    until_true 10 curl -fsS -o "$work/probe" "http://127.0.0.1:$1/" 2>"$work/curl.log" ||
        fail "nginx does not answer on port $1"
}

build_release() {
    cargo build --release --bin ringpark --example echo
}

# standard_library: finds the source of the standard library of this compiler, and says where in $library.
# Ends the script, as one whose needs cannot be met here, if it is not to be had.
standard_library() {
    local version folder suite
    version=$(rustc -V | awk '{ print $2 }')
    library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
    if [[ ! -e $library ]]; then
        # Debian packages the sources of each compiler.
        folder=$target/rust-src
        library=$folder/usr/src/rustc-$version/library
        for suite in trixie-backports sid; do
            [[ -e $library ]] || ci/debian.sh "$folder" "$suite" "rust-src=$version+" || true
        done
        if [[ ! -e $library ]]; then
            echo "SKIPPED: the source of Rust $version: try rustup component add rust-src" >&2
            exit 77
        fi
    fi
    library=$(cd "$library" && pwd)
}
