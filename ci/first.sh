#!/usr/bin/env bash
# Runs the README's first command as it stands there, pushes a request through it, and stops it.
# Usage: ci/first.sh 'cargo run ... -- proxy --listen ADDR --to ADDR'. Needs curl and python3.
source "$(dirname "$0")/lib.sh"

command=${1:?name the command}
listen=$(sed -nE 's/.*--listen ([^ ]+).*/\1/p' <<<"$command")
upstream=$(sed -nE 's/.*--to ([^ ]+).*/\1/p' <<<"$command")
[[ -n $listen && -n $upstream ]] || fail 'the command names no addresses'

mkdir "$work/www"
echo 'hello' >"$work/www/index.html"
start web python3 -m http.server --bind "${upstream%:*}" --directory "$work/www" "${upstream##*:}"
until_true 10 curl -fsS -o "$work/page" "http://$upstream/" 2>"$work/curl.log" ||
    fail "the web server does not answer on $upstream"

# Built first, so that the wait below is for the program and not for the compiler.
read -ra words <<<"$command"
build=(cargo build)
for word in "${words[@]:2}"; do
    [[ $word != -- ]] || break
    build+=("$word")
done
"${build[@]}"

# `cargo run` replaces itself by the program, so the id stays the same.
start proxy "${words[@]}"
pid=$started
[[ $(listening proxy) == "$listen" ]] || fail 'it listens elsewhere'
[[ $(curl -fsS --max-time 10 "http://$listen/") == hello ]] || fail 'no answer through the proxy'
ok 'a request went through it'
grep -E 'backend=|listening' "$work/proxy.log"
stop_proxy proxy "$pid"
