"""Determine the client that limits count by: the peer's address, or the one that a trusted proxy forwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from zmart import setting_values
from zmart.errors import SettingError

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]
_HEADER = b"x-forwarded-for"
_MAX_CLIENTS = 4_096
_MAX_FORWARDED = 1_024
"""How many bytes at the end of X-Forwarded-For are read: proxies append, so a client's own entries are in front."""
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[0-9.]+):\d+")
_SUBNET_BITS = 64
"""Prefix length of the IPv6 subnet that counts as one client: providers give each customer at least such a subnet."""


def parse_proxies(text: str) -> Networks:
    """Parse a comma-separated list of addresses and networks. Raises SettingError, which names an invalid entry."""
    try:
        return setting_values.networks(text)
    except ValueError as problem:
        raise SettingError(f"TRUSTED_PROXIES {problem}.") from None


class ClientAddresses:
    """Determine the client of a request or socket, with a cache; `trusted` are the networks of trusted proxies."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted
        self._client_of = lru_cache(_MAX_CLIENTS)(self._determine)

    def of(self, peer: str | None, forwarded_for: Iterable[bytes] = ()) -> str:
        """Return the client that limits count by: an IPv4 address or an IPv6 subnet, as text.

        `peer` is the address at the other end of the connection. `forwarded_for` holds the values of all header lines
        X-Forwarded-For in their order; they count only if `peer` is a trusted proxy.
        """
        lines = b",".join(forwarded_for) if self._trusted else b""
        return self._client_of(peer or "unknown", lines[-_MAX_FORWARDED:])

    def trusts(self, peer: str | None) -> bool:
        """Return whether an address belongs to a trusted proxy."""
        address = _parse(peer or "")
        return address is not None and self._is_proxy(address)

    def of_scope(self, scope: Mapping[str, Any]) -> str:
        """Return the client of an ASGI request, as `of` does."""
        peer = scope["client"]
        lines = (value for name, value in scope["headers"] if name == _HEADER) if self._trusted else ()
        return self.of(peer[0] if peer else None, lines)

    def _determine(self, peer: str, forwarded_for: bytes) -> str:
        address = _parse(peer)
        if address is None:
            return peer
        if self._is_proxy(address):
            address = self._last_untrusted(forwarded_for) or address
        return _name(address)

    def _last_untrusted(self, forwarded_for: bytes) -> Address | None:
        """Return the last forwarded address that is not a trusted proxy's.

        Return None if there is none, or if an entry behind it is not an address.
        """
        for hop in reversed(forwarded_for.decode("latin-1").split(",")):
            if not hop.strip():
                continue
            client = _parse(hop)
            if client is None or not self._is_proxy(client):
                return client
        return None

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _parse(text: str) -> Address | None:
    """Parse an address, with or without a port; None if it is invalid. An IPv4-mapped IPv6 address becomes IPv4."""
    text = text.strip().strip('"')
    matched = _WITH_PORT.fullmatch(text)
    if matched is not None:
        text = matched["v6"] or matched["v4"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _name(address: Address) -> str:
    if isinstance(address, IPv4Address) or address.is_loopback:
        return str(address)
    return str(ip_network((address, _SUBNET_BITS), strict=False))
