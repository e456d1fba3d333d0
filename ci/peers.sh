#!/usr/bin/env bash
# Real peers of the other kinds of sockets: a DNS server and iperf3 over UDP, socat over Unix sockets,
# and Python, which passes descriptors. Usage: ci/peers.sh. Needs dnsmasq, iperf3, socat, python3.
source "$(dirname "$0")/lib.sh"

say 'release build'
cargo build --release --example forward --example descriptors

ask() {
    python3 ci/dns.py "127.0.0.1:$1" "$2"
}

dns() {
    say "dnsmasq: 2000 questions through the forwarder on $1"
    local port server
    port=$(free_port)
    start dnsmasq "$(command -v dnsmasq || echo /usr/sbin/dnsmasq)" --no-daemon --no-resolv --no-hosts --port "$port" \
        --listen-address 127.0.0.1 --bind-interfaces --address /ringpark.test/10.7.7.7
    server=$started
    until_true 10 ask "$port" 1 >"$work/dns.log" 2>&1 || fail 'the DNS server does not answer'
    start forward env RINGPARK_BACKEND="$1" "$target/release/examples/forward" 127.0.0.1:0 "127.0.0.1:$port"
    local forward=$started addr
    addr=$(listening forward)
    ask "${addr##*:}" 2000 >"$work/dns.log" 2>&1 || fail 'an answer is missing or wrong'
    ok "$(cat "$work/dns.log")"
    end "$forward"
    end "$server"
}

load() {
    say "iperf3 -u through the forwarder on $1"
    local port server forward addr
    port=$(free_port)
    start iperf iperf3 --forceflush -s -1 -B 127.0.0.1 -p "$port"
    server=$started
    wait_for iperf 'Server listening'
    start forward env RINGPARK_BACKEND="$1" "$target/release/examples/forward" 127.0.0.1:0 "127.0.0.1:$port"
    forward=$started
    addr=$(listening forward)
    iperf3 -u -c 127.0.0.1 -p "${addr##*:}" -b 50M -l 1200 -t 3 -J >"$work/iperf.json" ||
        fail 'iperf3 failed'
    python3 -c '
import json, sys
end = json.load(open(sys.argv[1]))["end"]["sum"]
print(end["packets"], "datagrams, lost", end["lost_packets"])
# A busy machine drops some: what finds no room in a socket is lost, as UDP has it.
sys.exit(end["packets"] < 10000 or end["lost_percent"] > 5)' "$work/iperf.json" >"$work/iperf.txt" ||
        fail "too few arrived: $(cat "$work/iperf.txt")"
    ok "$(cat "$work/iperf.txt")"
    end "$forward"
    end "$server"
}

descriptors_pass() {
    say "socat and Python at a Unix socket on $1"
    local pid
    start descriptors env RINGPARK_BACKEND="$1" "$target/release/examples/descriptors" "$work/fds.sock"
    pid=$started
    listening descriptors >/dev/null
    [[ $(printf 'hello' | timeout 20 socat -t 1 - "UNIX-CONNECT:$work/fds.sock") == hello ]] ||
        fail 'socat got another answer'
    ok 'socat got its bytes back'
    local before
    before=$(descriptors "$pid")
    timeout 60 python3 ci/fds.py "$work/fds.sock" || fail 'a descriptor did not work'
    until_true 5 has_descriptors "$pid" "$before" || fail 'descriptors are left open'
    ok 'Python passed 500 descriptors there, and got as many back'
    end "$pid"
    rm -f "$work/fds.sock"
}

for backend in uring epoll poll; do
    dns "$backend"
    load "$backend"
    descriptors_pass "$backend"
done
