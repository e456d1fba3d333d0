#!/usr/bin/env python3
"""A service manager that restarts `ringpark proxy` ten times under load, from backend to backend.

Usage: restart.py PROXY TO HEADER
"""
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

program, upstream, header = sys.argv[1:]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
folder = tempfile.mkdtemp()
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.bind(folder + "/notify")
told.settimeout(30)
# The new one may have another backend than the old one, with which it shares the socket.
backends = itertools.cycle(["auto", "auto", "epoll", "epoll"])


def start():
    script = 'exec 3<&0 </dev/null; export LISTEN_PID=$$; exec "$0" "$@"'
    environment = dict(os.environ, LISTEN_FDS="1", NOTIFY_SOCKET=folder + "/notify", RUST_LOG="info")
    command = ["sh", "-c", script, program, "proxy", "--to", upstream, "--threads", "2", "--grace", "60s"]
    command += ["--backend", next(backends)]
    proxy = subprocess.Popen(command, stdin=listener.fileno(), env=environment)
    wait_for(b"READY=1")
    return proxy


def wait_for(state):
    while told.recv(64) != state:
        pass


port = listener.getsockname()[1]
proxies = [start()]
load = ["wrk", "-t", "1", "-c", "200", "-d", "12", "--timeout", "10", "-H", header, f"http://127.0.0.1:{port}/"]
wrk = subprocess.Popen(load, stdout=subprocess.PIPE, text=True)
time.sleep(1)
for _ in range(10):
    proxies.append(start())
    proxies[-2].send_signal(signal.SIGTERM)
    wait_for(b"STOPPING=1")
    time.sleep(0.5)
report = wrk.communicate()[0]
print(report)
proxies[-1].send_signal(signal.SIGTERM)
codes = [proxy.wait(60) for proxy in proxies]
requests = int(re.search(r"(\d+) requests in", report).group(1))
assert wrk.returncode == 0 and requests > 1000, "the load did not run"
assert "Socket errors" not in report and "Non-2xx" not in report, "requests have failed"
assert codes == [0] * 11, f"exit codes {codes}"
print(f"10 restarts, {requests} requests, no failed one")
