"""What connections that have asked once and then stay cost a server in memory."""

from __future__ import annotations

import socket

import psutil

CONNECTIONS = 1_000
GOAL_MB = 60.0
_REQUEST = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"


def memory_mb(pid: int, port: int) -> float:
    """By how much the process grows with all of them open."""
    before = psutil.Process(pid).memory_info().rss
    held = []
    try:
        for _ in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            client.sendall(_REQUEST)
            client.recv(65_536)
            held.append(client)
        return float(psutil.Process(pid).memory_info().rss - before) / 1e6
    finally:
        for client in held:
            client.close()
