"""Keep environment variables of the user out of connections over the loopback.

These are the proxies of HTTP and the defaults of libpq.
"""

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
    """Return whether every host of a URL is this machine's loopback; False for an invalid URL."""
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
        return all(_is_loopback_host(urlsplit(f"//{host}").hostname or "") for host in hosts)
    except ValueError:
        return False


def client_options(*urls: str) -> dict[str, Any]:
    """Return the options of an httpx client for these URLs.

    If all of them are on the loopback, the client ignores the environment's proxies and certificates. Otherwise it uses
    them, but no proxy for loopback hosts.
    """
    if all(is_loopback(url) for url in urls):
        return {"trust_env": False, "verify": _tls_context(trust_env=False)}
    return {"mounts": {f"all://{host}": None for host in _HOSTS}, "verify": _tls_context(trust_env=True)}


@cache
def _tls_context(*, trust_env: bool) -> SSLContext:
    """Return the TLS context that all clients of this process share: loading the certificates takes 20 ms."""
    import httpx

    return httpx.create_ssl_context(trust_env=trust_env)


def socket_proxy(ws_url: str) -> Literal[True] | None:
    """Return the option `proxy` of websockets' `connect`: None on the loopback, else True.

    True means the proxy that the environment names.
    """
    return None if is_loopback(ws_url) else True


def database_address(database_url: str) -> str:
    """Return a database's URL, completed so that libpq's variables cannot change its meaning.

    On the loopback the URL sets sslmode and target_session_attrs itself, so PGSSLMODE and PGTARGETSESSIONATTRS have no
    effect. With several hosts it requires the primary. Parameters that the URL already has are kept.
    """
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
