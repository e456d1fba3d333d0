"""Opens many connections to an echo server, lets each echo 8000 bytes and go idle, and says how much
resident memory the server has per connection. Then every connection must still echo.

Usage: idle.py HOST:PORT SERVER_PID CONNECTIONS BYTES_MAX
"""

import resource
import socket
import sys

MESSAGE = bytes(range(250)) * 32  # 8000 bytes


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


def echo(connection, message):
    connection.sendall(message)
    answer = b""
    while len(answer) < len(message):
        part = connection.recv(len(message) - len(answer))
        if not part:
            raise RuntimeError("the server closed an open connection")
        answer += part
    if answer != message:
        raise RuntimeError("the answer differs from what was sent")


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    pid, count, bytes_max = (int(arg) for arg in sys.argv[2:5])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def connect():
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echo(connection, MESSAGE)
        return connection

    # What the first few connections bring in is the server's own, not theirs.
    connections = [connect() for _ in range(10)]
    before = resident(pid)
    connections += [connect() for _ in range(count - len(connections))]
    each = (resident(pid) - before) / (count - 10)
    print(f"   {count} connections, each has echoed {len(MESSAGE)} bytes: "
          f"{each:.0f} bytes resident per connection (at most {bytes_max})")
    for number, connection in enumerate(connections):
        try:
            echo(connection, b"%d" % number)
        except OSError as error:
            sys.exit(f"connection {number} does not answer: {error}")
    print(f"ok: all {count} connections still answer")
    if each > bytes_max:
        sys.exit(f"too much memory per connection: {each:.0f} bytes")


main()
