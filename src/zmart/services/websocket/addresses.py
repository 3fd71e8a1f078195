"""Determine a client's address: that of its socket, or the one that a trusted proxy reports."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from zmart.errors import ConfigError

Network = IPv4Network | IPv6Network


def networks(setting: str) -> tuple[Network, ...]:
    """Parse TRUSTED_PROXIES: addresses and networks, comma separated. Raises ConfigError."""
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in setting.split(",") if part.strip())
    except ValueError as problem:
        raise ConfigError(
            f"TRUSTED_PROXIES is invalid: {problem}. Set it to addresses or networks."
        ) from None


def client_address(peer: str, forwarded_for: str, trusted: tuple[Network, ...]) -> str:
    """Return the last address in the chain that is not a trusted proxy's."""
    address = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not _is_trusted(address, trusted):
            break
        address = hop
    return address


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        return any(ip_address(address) in network for network in trusted)
    except ValueError:
        return False
