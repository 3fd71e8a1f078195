"""Keep the user's environment out of talk over the loopback: proxies of HTTP, and defaults of libpq."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

if TYPE_CHECKING:
    from ssl import SSLContext

_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_LIBPQ_DEFAULTS = {"sslmode": "prefer", "target_session_attrs": "any"}
_OF_SEVERAL_HOSTS = {"target_session_attrs": "primary"}


def is_loopback(url: str) -> bool:
    """Whether every host of a URL is this machine's loopback; False for an invalid one."""
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
        return all(_is_loopback_host(urlsplit(f"//{host}").hostname or "") for host in hosts)
    except ValueError:
        return False


def client_options(*urls: str) -> dict[str, Any]:
    """Return httpx's options for a client of these URLs: only to other machines it uses the environment's proxies and
    certificates."""
    if all(is_loopback(url) for url in urls):
        return {"trust_env": False, "verify": _tls_context(trust_env=False)}
    return {"mounts": {f"all://{host}": None for host in _HOSTS}, "verify": _tls_context(trust_env=True)}


@cache
def _tls_context(*, trust_env: bool) -> SSLContext:
    """Return the TLS context of every client of this process: to load the certificates takes 20 ms."""
    import httpx

    return httpx.create_ssl_context(trust_env=trust_env)


def socket_proxy(ws_url: str) -> Literal[True] | None:
    """Return the option `proxy` of websockets' `connect`: True for the environment's."""
    return None if is_loopback(ws_url) else True


def database_address(database_url: str) -> str:
    """Return the address of a database: on the loopback PGSSLMODE and PGTARGETSESSIONATTRS say nothing about it, and of
    several hosts the primary is meant."""
    parts = urlsplit(database_url)
    defaults = _LIBPQ_DEFAULTS if is_loopback(database_url) else {}
    if "," in parts.netloc.rpartition("@")[2]:
        defaults = defaults | _OF_SEVERAL_HOSTS
    given = parse_qs(parts.query)
    missing = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    if not missing:
        return database_url
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, *missing]))))


def _is_loopback_host(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
