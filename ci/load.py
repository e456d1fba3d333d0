"""An even load on an echo server: every round, each connection sends one message and reads it back.

Says "ready" when all connections are open and warm, then waits for a line on stdin, runs the rounds
and says "done".

Usage: load.py HOST:PORT CONNECTIONS ROUNDS
"""

import socket
import sys

MESSAGE = b"x" * 64
WARM_UP_ROUNDS = 200


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    count, rounds = int(sys.argv[2]), int(sys.argv[3])
    connections = [socket.create_connection((host, int(port)), timeout=30) for _ in range(count)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(times):
        for _ in range(times):
            for connection in connections:
                connection.sendall(MESSAGE)
            for connection in connections:
                left = len(MESSAGE)
                while left > 0:
                    part = connection.recv(left)
                    if not part:
                        sys.exit("load.py: the server closed a connection")
                    left -= len(part)

    run(WARM_UP_ROUNDS)
    print("ready", flush=True)
    sys.stdin.readline()
    run(rounds)
    print("done", flush=True)
    sys.stdin.readline()


main()
