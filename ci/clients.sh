#!/usr/bin/env bash
# Real clients and real servers on loopback, against release builds: bulk through curl, load through
# wrk and nginx, half-close and a killed upstream through socat, and many idle connections.
# Usage: ci/clients.sh. Needs curl, wrk, nginx, socat, python3, and some 3 GiB in $TMPDIR.
source "$(dirname "$0")/lib.sh"

idle_bytes_max=1024

say 'release build'
build_release

mkdir "$work/www"
echo 'hello' >"$work/www/index.html"
head -c 1G /dev/urandom >"$work/www/bulk"
web=$(free_port)
start_nginx "$web" "$work/www"

# proxy NAME BACKEND UPSTREAM: starts one; its address in $addr, its id in $started.
proxy() {
    start "$1" "$target/release/ringpark" proxy --listen 127.0.0.1:0 --backend "$2" --to "$3"
    addr=$(listening "$1")
    says "$1" "backend=$2" || fail "$1 does not say that it runs on $2"
}

bulk() {
    say "curl: 1 GiB through the proxy on $1"
    curl -fsS --max-time 120 "http://$addr/bulk" 2>"$work/curl.log" | cmp - "$work/www/bulk" ||
        fail 'the file did not arrive as it is'
    ok "1 GiB arrived byte for byte"
}

load() {
    say "wrk: 1000 connections through the proxy on $1"
    wrk -t 2 -c 1000 -d 5s --timeout 5s "http://$addr/" >"$work/wrk.log" 2>&1 || fail 'wrk failed'
    ! grep -E 'Socket errors|Non-2xx' "$work/wrk.log" || fail 'wrk saw errors'
    local requests
    requests=$(sed -nE 's/^ *([0-9]+) requests in.*/\1/p' "$work/wrk.log")
    ((requests >= 1000)) || fail "only $requests requests were answered"
    ok "$requests requests, no errors"
}

half_close() {
    say "socat: a half-closing client on $1"
    # wc answers only when it has seen the end of what the client says.
    local counter pid answer port
    port=$(free_port)
    start counter socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" 'SYSTEM:wc -c'
    counter=$started
    until_true 10 socat -u OPEN:/dev/null "TCP:127.0.0.1:$port" 2>"$work/socat.log" ||
        fail 'the counter does not listen'
    proxy half-close "$1" "127.0.0.1:$port"
    pid=$started
    answer=$(head -c 100000 /dev/zero | timeout 20 socat -t 15 - "TCP:$addr") ||
        fail 'the client got no end'
    [[ ${answer//[[:space:]]/} == 100000 ]] || fail "the answer is \"$answer\""
    ok 'the answer came after the half-close'
    stop_proxy half-close "$pid"
    end "$counter"
}

killed_upstream() {
    say "kill -9 of an upstream in mid-stream on $1"
    local source pid client before code=0 port
    port=$(free_port)
    start zeros socat -u OPEN:/dev/zero "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr"
    source=$started
    proxy killed "$1" "127.0.0.1:$port"
    pid=$started
    before=$(descriptors "$pid")
    until_true 10 grep -q "$(printf '%04X' "$port") 00000000:0000 0A" /proc/net/tcp ||
        fail 'the source does not listen'
    socat -u "TCP:$addr" - 2>"$work/client.log" >"$work/stream" &
    client=$!
    servers+=("$client")
    until_true 10 test -s "$work/stream" || fail 'nothing came through'
    kill -9 "$source"
    until_true 5 bash -c "! kill -0 $client 2>&-" || fail 'the client is still waiting'
    wait "$client" || code=$?
    ok "the client ended by itself (exit code $code)"
    until_true 5 has_descriptors "$pid" "$before" ||
        fail "$(descriptors "$pid") descriptors are open, $before were before"
    ok "no descriptor was left ($before open, as before)"
    stop_proxy killed "$pid"
    rm -f "$work/stream"
}

# idle BACKEND CONNECTIONS
idle() {
    say "$2 idle connections on one core, echo on $1"
    start idle "$target/release/examples/echo" 127.0.0.1:0 --backend "$1"
    local pid=$started at
    at=$(listening idle)
    python3 ci/idle.py "$at" "$pid" "$2" "$idle_bytes_max" || fail 'see above'
    end "$pid"
}

for backend in uring epoll poll; do
    proxy "proxy-$backend" "$backend" "127.0.0.1:$web"
    pid=$started
    bulk "$backend"
    load "$backend"
    stop_proxy "proxy-$backend" "$pid"
    half_close "$backend"
    killed_upstream "$backend"
done
idle uring 10000
idle epoll 10000
# Each poll(2) looks at every descriptor, so ten thousand would only take time to say the same.
idle poll 2000
say 'all clients were served'
