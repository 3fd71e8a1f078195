"""The socket that a service's HTTP server listens on."""

from __future__ import annotations

import socket


def bind_listener(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to a port (0: a free one). Raises OSError.

    The protocol is named because asyncio sets TCP_NODELAY only then: without it the second write of each response
    waits some 40 ms for the client's acknowledgement of the first.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
