"""Check the head of an HTTP request against limits before the application sees it."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import chain

import msgspec

from zmart.services.contract import Scope

_HOST = re.compile(
    rb"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|[!$-+\-.0-9;=A-Z_a-z~]{1,253})(?::(?P<port>[0-9]{0,5}))?"
)
_MAX_PORT = 65_535


class HeadRefusal(msgspec.Struct, frozen=True):
    """The HTTP status and the sentence with which a request is refused."""

    status: int
    message: str


class HeadBounds(msgspec.Struct, frozen=True):
    """The limits of a request's head.

    They bound its size, the number of header lines, the size of its target (path and query), and the number of
    parameters in the query.
    """

    head_bytes: int = 64 * 1024
    headers: int = 100
    target_bytes: int = 8 * 1024
    parameters: int = 100

    def refusal_of(self, scope: Scope) -> HeadRefusal | None:
        """Return why a complete head is refused; None if it is within the limits."""
        query: bytes = scope["query_string"]
        target = len(scope["raw_path"]) + len(query)
        if target > self.target_bytes:
            return HeadRefusal(414, f"Path and query may have {self.target_bytes} bytes together.")
        if query.count(b"&") >= self.parameters:
            return HeadRefusal(400, f"The query may have {self.parameters} parameters.")
        headers = scope["headers"]
        if len(headers) > self.headers:
            return _too_large(f"Send at most {self.headers} headers.")
        if target + sum(map(len, chain.from_iterable(headers))) > self.head_bytes:
            return _too_large(f"A request's headers may have {self.head_bytes} bytes together.")
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (hosts and not is_host(hosts[0])):
            return HeadRefusal(400, "The Host header must name one host, and its port if it has one.")
        return None


@lru_cache(1_024)
def is_host(value: bytes) -> bool:
    """Return whether a Host header is valid: a host with or without a port, as frameworks parse it from a URL."""
    matched = _HOST.fullmatch(value)
    if matched is None or (matched["port"] and int(matched["port"]) > _MAX_PORT):
        return False
    try:
        return matched["v6"] is None or bool(IPv6Address(matched["v6"].decode()))
    except ValueError:
        return False


def _too_large(message: str) -> HeadRefusal:
    return HeadRefusal(431, message)
