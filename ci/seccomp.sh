#!/usr/bin/env bash
# Where io_uring is forbidden, as in many containers, the same program runs on epoll and says why;
# one that was told to use io_uring and nothing else says so and does not start.
# Usage: ci/seccomp.sh. Needs curl, nginx, python3.
source "$(dirname "$0")/lib.sh"

say 'release build'
build_release
mkdir "$work/www"
echo 'hello' >"$work/www/index.html"
web=$(free_port)
start_nginx "$web" "$work/www"

for answer in EPERM ENOSYS EACCES; do
    say "io_uring calls answer $answer"
    name=proxy-$answer
    start "$name" python3 ci/seccomp.py "$answer" "$target/release/ringpark" proxy \
        --listen 127.0.0.1:0 --to "127.0.0.1:$web" --threads 1
    pid=$started
    addr=$(listening "$name")
    line=$(grep 'backend=' "$work/$name.log") || fail 'no line names the backend'
    printf '   %s\n' "$line"
    [[ $line == *backend=epoll* ]] || fail 'it does not run on epoll'
    grep -qiE 'seccomp|kernel|sysctl|security module' <<<"$line" || fail 'the line names no likely cause'
    [[ $(curl -fsS --max-time 10 "http://$addr/") == hello ]] || fail 'no answer through it'
    ok 'it runs on epoll, says why, and serves'
    stop_proxy "$name" "$pid"

    code=0
    timeout 20 python3 ci/seccomp.py "$answer" "$target/release/ringpark" proxy \
        --listen 127.0.0.1:0 --to "127.0.0.1:$web" --backend uring \
        >"$work/forced.log" 2>&1 || code=$?
    ((code == 1)) || fail "with --backend uring the exit code is $code, not 1"
    grep '^ringpark: ' "$work/forced.log" || fail 'no sentence says why'
    ok 'with --backend uring it does not start, and says why'
done
