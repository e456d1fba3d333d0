"""Asks a DNS server for the address of ringpark.test, so many times: dns.py HOST:PORT COUNT."""

import socket
import struct
import sys

host, port = sys.argv[1].rsplit(":", 1)
count = int(sys.argv[2])
name = b"\x08ringpark\x04test\x00"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect((host, int(port)))
    for number in range(count):
        client.send(struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1))
        answer = client.recv(4096)
        assert answer[:2] == struct.pack(">H", number), "the answer to another question"
        assert answer.endswith(bytes([10, 7, 7, 7])), "another address"
print(count, "answers, each the right one")
