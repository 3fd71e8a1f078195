"""Limit how many connections a port holds, in total and for one client: a process has a limit of open files."""

from __future__ import annotations

import resource
from collections import Counter

import prometheus_client

from zmart.services.client_addresses import ClientAddresses

_RESERVED = 128
"""File descriptors that are left for databases, RPCs and files."""
_FEWEST = 64
_LARGEST_SHARE = 2
"""One client holds at most 1/2 of the connections; a trusted proxy, which stands for many clients, may hold all."""
REFUSED = prometheus_client.Counter(
    "zmart_connections_refused", "connections that were ended at once, by what was full", ["limit"]
)


def most_connections() -> int:
    """Return how many connections this process may hold by its limit of open files: at least 64."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, files - _RESERVED)


class ConnectionCounts:
    """Count the connections of one port, in total and by client; `most` is the limit of the total."""

    def __init__(self, clients: ClientAddresses, most: int | None = None) -> None:
        self._clients = clients
        self._most = most_connections() if most is None else most
        self._by_client: Counter[str] = Counter()

    def enter(self, peer: str | None) -> str | None:
        """Count a new connection from the address `peer`, and return its client, for `leave`.

        Return None, and count nothing, if the port or the client already has too many connections.
        """
        client = self._clients.of(peer)
        if self._by_client.total() >= self._most:
            REFUSED.labels("all").inc()
            return None
        if self._by_client[client] >= self._most // _LARGEST_SHARE and not self._clients.trusts(peer):
            REFUSED.labels("client").inc()
            return None
        self._by_client[client] += 1
        return client

    def leave(self, client: str) -> None:
        """Stop counting a connection of `client` that has ended."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
