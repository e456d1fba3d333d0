"""Runs a program under a seccomp profile in the form of Docker.

Usage: profile.py PROFILE PROGRAM [ARGUMENT ...]. Needs python3-seccomp.
"""

import json
import os
import sys

# Beside this file lies a seccomp.py of our own.
sys.path.pop(0)

import seccomp  # noqa: E402

profile = json.load(open(sys.argv[1]))
assert profile["defaultAction"] == "SCMP_ACT_ERRNO", profile["defaultAction"]
seccomp_filter = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
for rule in profile["syscalls"]:
    assert rule["action"] == "SCMP_ACT_ALLOW", rule["action"]
    for name in rule["names"]:
        try:
            seccomp_filter.add_rule(seccomp.ALLOW, name)
        except RuntimeError:
            # Container runtimes, too, pass over calls that their library does not know.
            print(f"profile.py: unknown here: {name}", file=sys.stderr)
seccomp_filter.load()
os.execv(sys.argv[2], sys.argv[2:])
