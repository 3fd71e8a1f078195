"""Limit how many connections a port holds, in all and of one client: a process has few descriptors."""

from __future__ import annotations

import resource
from collections import Counter

import prometheus_client

from zmart.services.client_addresses import ClientAddresses

_RESERVED = 128
"""Descriptors for databases, RPCs and files."""
_FEWEST = 64
_LARGEST_SHARE = 2
"""One client holds at most every second connection; a trusted proxy, behind which there are many, all of them."""
REFUSED = prometheus_client.Counter(
    "zmart_connections_refused", "connections that were ended at once, by what was full", ["limit"]
)


def most_connections() -> int:
    """Return how many connections this process can hold by its limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, files - _RESERVED)


class ConnectionCounts:
    """The connections of one port."""

    def __init__(self, clients: ClientAddresses, most: int | None = None) -> None:
        self._clients = clients
        self._most = most_connections() if most is None else most
        self._by_client: Counter[str] = Counter()

    def enter(self, peer: str | None) -> str | None:
        """Count a connection from an address, and return the client to `leave` with; None if there is no room."""
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
        """Forget a connection that has ended."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
