#!/usr/bin/env bash
# The probe where io_uring is restricted for the whole machine, its JSON against its schema, the
# seccomp profile that it prints, and how long it takes.
# Usage: ci/probe.sh. Needs curl, nginx, setpriv, and leave to install python3-jsonschema and
# python3-seccomp. What takes root (the sysctl) is skipped without it, loudly.
source "$(dirname "$0")/lib.sh"

say 'what it needs'
# The packages are those of the system's own Python.
python=/usr/bin/python3
missing=()
for module in jsonschema seccomp; do
    "$python" -c "import $module" 2>/dev/null || missing+=("python3-$module")
done
if ((${#missing[@]} > 0)); then
    install_packages "${missing[@]}" ||
        fail "${missing[*]} cannot be installed"
fi
ok 'it is there'

say 'release build'
build_release
ringpark=$target/release/ringpark

say 'JSON against its schema'
"$ringpark" probe --schema >"$work/schema.json"
"$ringpark" probe --json --costs --route 127.0.0.1:9 >"$work/here.json"
python3 ci/seccomp.py EPERM "$ringpark" probe --json >"$work/refused.json"
RINGPARK_BACKEND=poll "$ringpark" probe --json >"$work/poll.json"
"$python" - "$work/schema.json" "$work"/{here,refused,poll}.json docs/kernels/*.json <<'PYTHON'
import json, sys
import jsonschema
schema, *reports = (json.load(open(name)) for name in sys.argv[1:])
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for name, report in zip(sys.argv[2:], reports):
    errors = [f"{name}: {list(e.path)}: {e.message}" for e in validator.iter_errors(report)]
    if errors:
        sys.exit("\n".join(errors))
# And it does refuse what it should.
for damage in [lambda r: r.pop("verdict"), lambda r: r.update(schema=2), lambda r: r.update(new=1),
               lambda r: r["checks"][0].update(outcome="perhaps")]:
    report = json.load(open(sys.argv[2]))
    damage(report)
    if validator.is_valid(report):
        sys.exit("the schema accepts a damaged report")
print(f"ok: {len(reports)} reports are of the form that the schema says")
PYTHON

say 'how long it takes'
for run in 1 2 3 4 5; do
    "$ringpark" probe --json >"$work/run$run.json"
done
fastest=$("$python" -c 'import json, sys
print(min(json.load(open(name))["took_us"] for name in sys.argv[1:]))' "$work"/run?.json)
((fastest < 300000)) || fail "it takes $((fastest / 1000)) ms"
ok "$((fastest / 1000)) ms"

say 'the sysctl kernel.io_uring_disabled'
sysctl=/proc/sys/kernel/io_uring_disabled
before=$(cat "$sysctl" 2>/dev/null || true)
put_back() { [[ -z $before ]] || { echo "$before" >"$sysctl"; } 2>/dev/null || true; }
if [[ $before == 0 ]] && { echo 0 >"$sysctl"; } 2>/dev/null; then
    # It is the whole machine's, so it is changed for a moment only, and put back whatever happens.
    trap 'put_back; end_all' EXIT
    nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cp "$ringpark" /tmp/ringpark-probe-$$
    chmod 755 /tmp/ringpark-probe-$$
    probe=(/tmp/ringpark-probe-$$ probe)
    code=0
    echo 1 >"$sysctl"
    "${nobody[@]}" "${probe[@]}" >"$work/1-nobody" || code=1
    "${probe[@]}" >"$work/1-root" || code=1
    echo 2 >"$sysctl"
    "${probe[@]}" >"$work/2-root" || code=1
    python3 ci/seccomp.py EPERM "${probe[@]}" >"$work/2-filtered" || code=1
    put_back
    rm /tmp/ringpark-probe-$$
    [[ $(cat "$sysctl") == "$before" ]] || fail 'the sysctl is not what it was'
    ((code == 0)) || fail 'the probe failed'
    has() { grep -qE -- "$2" "$work/$1" || { cat "$work/$1" >&2; fail "$1 does not say: $2"; }; }
    has 1-nobody 'backend +epoll'
    has 1-nobody 'kernel.io_uring_disabled is 1'
    has 1-nobody 'sysctl -w kernel.io_uring_group=65534'
    has 1-root 'backend +uring'
    has 1-root 'as this process is'
    has 2-root 'backend +epoll'
    has 2-root 'kernel.io_uring_disabled is 2'
    has 2-root 'sysctl -w kernel.io_uring_disabled=0'
    has 2-filtered 'a seccomp filter forbids'
    has 2-filtered 'kernel.io_uring_disabled is 2'
    ok 'at 1, at 2, and behind a filter: the right cause and the right remedy'
else
    echo "SKIPPED: the sysctl is ${before:-not there}, or may not be changed" >&2
fi

say 'the seccomp profile'
"$ringpark" probe --seccomp-profile >"$work/profile.json"
mkdir "$work/www"
echo 'hello' >"$work/www/index.html"
web=$(free_port)
start_nginx "$web" "$work/www"
confined=("$python" ci/profile.py "$work/profile.json" "$ringpark")
"${confined[@]}" probe --require uring || fail 'under the profile there is no io_uring'
ok 'the probe finds io_uring under it'
for backend in uring epoll poll select; do
    start "confined-$backend" "${confined[@]}" proxy --listen 127.0.0.1:0 \
        --to "localhost:$web" --threads 2 --backend "$backend"
    pid=$started
    addr=$(listening "confined-$backend")
    [[ $(curl -fsS --max-time 10 "http://$addr/") == hello ]] || fail "no answer on $backend"
    stop_proxy "confined-$backend" "$pid"
done
ok 'the proxy serves under it on each backend, and stops well'
code=0
"$python" ci/profile.py "$work/profile.json" /usr/bin/unshare -U true 2>"$work/denied" || code=$?
((code != 0)) || fail 'the profile permits what it should not'
ok 'what is not in it is denied'
