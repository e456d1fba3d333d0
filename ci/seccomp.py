"""Runs a program under a seccomp filter that answers the three io_uring calls with an error, as
container runtimes do.

Usage: seccomp.py EPERM|ENOSYS|EACCES PROGRAM [ARGUMENT ...]
"""

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_IF_GE, JUMP_IF_GT, RETURN = 0x20, 0x35, 0x25, 0x06
# io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
FIRST, LAST = 425, 427


def statement(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main():
    answer = getattr(errno, sys.argv[1])
    instructions = [
        statement(LOAD_WORD, 0),  # the call's number
        statement(JUMP_IF_GE, FIRST, 0, 2),
        statement(JUMP_IF_GT, LAST, 1, 0),
        statement(RETURN, SECCOMP_RET_ERRNO | answer),
        statement(RETURN, SECCOMP_RET_ALLOW),
    ]
    program = Program(len(instructions), b"".join(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            sys.exit(f"seccomp.py: prctl: {os.strerror(ctypes.get_errno())}")
    if platform.system() != "Linux":
        sys.exit("seccomp.py: this is for Linux")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
