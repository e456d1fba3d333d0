#!/usr/bin/env bash
# In its steady state a core on io_uring makes one kind of call, io_uring_enter, and at most one each
# turn. One connection that sends and waits takes two turns per message: one that the message ends,
# and one that the answer's own completion ends. With many connections the turns are shared.
# A relay in bulk makes splice(2) besides, and nothing else.
# Usage: ci/syscalls.sh. Needs strace, python3, socat, and leave to trace.
source "$(dirname "$0")/lib.sh"

say 'release build'
build_release

# trace PID: from here to `untrace` its calls are counted, into $work/counts.
trace() {
    start strace strace -f -c -o "$work/counts" -p "$1"
    tracer=$started
    wait_for strace 'attached'
}
untrace() {
    kill -INT "$tracer"
    wait "$tracer" || true
}

# only CALL...: strace's table in $work/counts must know no others, sorted by name.
only() {
    sed 's/^/   /' "$work/counts"
    local calls
    calls=$(awk '$1 ~ /^[0-9.]+$/ && $NF != "total" { print $NF }' "$work/counts" | sort | xargs)
    [[ $calls == "$*" ]] || fail "the calls are: $calls"
}

# count CONNECTIONS ROUNDS: leaves strace's table in $work/counts and the entries in $enters.
count() {
    start echo "$target/release/examples/echo" 127.0.0.1:0 --backend uring
    local pid=$started addr
    addr=$(listening echo)
    coproc LOAD { exec python3 ci/load.py "$addr" "$1" "$2"; }
    local load=$LOAD_PID to=${LOAD[1]} from=${LOAD[0]} line
    servers+=("$load")
    read -r -t 60 line <&"$from" || fail 'the load does not get ready'
    [[ $line == ready ]] || fail "the load says $line"
    trace "$pid"
    echo go >&"$to"
    read -r -t 120 line <&"$from" || fail 'the load does not end'
    [[ $line == "done" ]] || fail "the load says $line"
    untrace
    echo end >&"$to"
    wait "$load" || fail 'the load failed'
    end "$pid"
    only io_uring_enter
    enters=$(awk '$NF == "io_uring_enter" { print $4 }' "$work/counts")
}

say 'one connection, 5000 messages'
count 1 5000
# Some more for the moment in which strace takes hold.
((enters <= 2 * 5000 + 50)) || fail "$enters entries for 5000 messages"
ok "$enters entries into the kernel for 5000 messages, and no other call"

say '64 connections, 200 messages each'
count 64 200
((enters <= 64 * 200)) || fail "$enters entries for 12800 messages"
ok "$enters entries into the kernel for 12800 messages, and no other call"

say 'bulk through a relay, for a second'
start sink socat -d -d -u TCP-LISTEN:0,bind=127.0.0.1 /dev/null
wait_for sink 'listening on '
sink=$(sed -nE 's/.*listening on AF=2 (.*)/\1/p' "$work/sink.log")
start proxy "$target/release/ringpark" proxy --listen 127.0.0.1:0 --backend uring --to "$sink"
proxy=$started
addr=$(listening proxy)
start source socat -u /dev/zero "TCP:$addr"
# Until it is in full flow.
sleep 1
trace "$proxy"
sleep 1
untrace
only io_uring_enter splice
ok 'it is spliced, and there is no other call'
