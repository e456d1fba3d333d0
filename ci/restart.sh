#!/usr/bin/env bash
# Restarts the proxy ten times under the load of `wrk -c 200`, as a service manager that holds the socket
# would: no request may fail. Usage: ci/restart.sh. Needs nginx, wrk, curl and python3.
source "$(dirname "$0")/lib.sh"

build_release
mkdir "$work/www"
echo hello >"$work/www/index.html"
backend=$(free_port)
start_nginx "$backend" "$work/www"

# Both kinds of clients: a connection for each request, and connections that outlive all restarts.
for header in 'Connection: close' 'Connection: keep-alive'; do
    say "ten restarts under wrk -c 200, $header"
    python3 ci/restart.py "$target/release/ringpark" "127.0.0.1:$backend" "$header" >"$work/restart.log" 2>&1 ||
        fail 'a restart was noticed'
    grep -E 'requests in|restarts|no failed' "$work/restart.log"
    ok 'no request failed, no connection was reset'
done
