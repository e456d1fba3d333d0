"""Passes pipes to examples/descriptors.rs and takes those that it passes back: fds.py PATH."""

import os
import socket
import sys

for round in range(500):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(sys.argv[1])
        message = b"round %d" % round
        reader, writer = os.pipe()
        socket.send_fds(peer, [message], [writer])
        os.close(writer)
        answer, fds, flags, _ = socket.recv_fds(peer, 4096, 4)
        assert answer == message and len(fds) == 1 and flags & socket.MSG_CTRUNC == 0
        # To the end: nobody else has kept the writing end.
        assert os.fdopen(reader, "rb").read() == message, "what was written to the passed pipe"
        assert os.fdopen(fds[0], "rb").read() == message, "what was in the pipe that came back"
