"""Determine the client's network address behind the proxies of TRUSTED_PROXIES."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from zmart.errors import ConfigError

Networks = tuple[IPv4Network | IPv6Network, ...]
_MAX_CLIENTS = 4_096


def parse_proxies(text: str) -> Networks:
    """Parse a comma-separated list of addresses and networks. Raises ConfigError, which names an invalid one."""
    networks: list[IPv4Network | IPv6Network] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            networks.append(ip_network(part, strict=False))
        except ValueError:
            raise ConfigError(
                f"TRUSTED_PROXIES holds {part!r}, which is neither an address nor a network (10.0.0.0/8)."
            ) from None
    return tuple(networks)


def client_address(peer: str, forwarded_for: str | None, trusted: Networks) -> str:
    """Return the last address in X-Forwarded-For that is no trusted proxy; the peer's if the peer is not trusted."""
    if not trusted or not _is_in(peer, trusted):
        return peer
    for hop in reversed([part.strip() for part in (forwarded_for or "").split(",") if part.strip()]):
        if not _is_in(hop, trusted):
            return hop if _is_address(hop) else peer
    return peer


def _is_in(text: str, networks: Networks) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class ClientAddresses:
    """Determines the client's address of each request, with a cache."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted
        self._find = lru_cache(_MAX_CLIENTS)(self._client_of)

    def of(self, peer: tuple[str, int] | None, forwarded_for: bytes | None) -> str:
        """Return the client's address. `peer`: from the ASGI scope; `forwarded_for`: the header X-Forwarded-For."""
        host = peer[0] if peer else "unknown"
        return self._find(host, forwarded_for) if self._trusted else host

    def _client_of(self, host: str, forwarded_for: bytes | None) -> str:
        given = None if forwarded_for is None else forwarded_for.decode("latin-1")
        return client_address(host, given, self._trusted)
