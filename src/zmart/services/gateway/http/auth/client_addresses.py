"""The client's network address, behind proxies that are trusted by TRUSTED_PROXIES."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from zmart.errors import ConfigError

Networks = tuple[IPv4Network | IPv6Network, ...]


def parse_proxies(text: str) -> Networks:
    """A comma list of addresses and networks; ConfigError names the one that is none."""
    networks: list[IPv4Network | IPv6Network] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            networks.append(ip_network(part, strict=False))
        except ValueError:
            raise ConfigError(
                f"TRUSTED_PROXIES holds {part!r}, which is no address and no network (10.0.0.0/8)."
            ) from None
    return tuple(networks)


def client_address(peer: str, forwarded_for: str | None, trusted: Networks) -> str:
    """The last address in X-Forwarded-For that is no trusted proxy; the peer's own when it is not trusted."""
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
