"""Measure the memory of idle connections, which stay open after one request."""

from __future__ import annotations

import socket

import psutil

CONNECTIONS = 1_000
GOAL_MB = 60.0
_REQUEST = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"


def memory_mb(pid: int, port: int) -> float:
    """Open CONNECTIONS idle connections; return by how many MB (10^6 bytes) the server's process grows."""
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
