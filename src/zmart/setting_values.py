"""Check the text of settings when a process starts: addresses, origins, secrets. No message shows a value that may be
secret."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

LEAST_SECRET_CHARACTERS = 32
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]/?#]*)(?::\d{0,5})?", re.ASCII)
_ESCAPES = (
    "special characters of a user name or password are written as %XX ('#' as %23, '/' as %2F, '@' as %40)"
)
_PLATFORM_PORT = re.compile(r"(?:tcp|udp|sctp)://", re.ASCII)


def clean(values: dict[str, object]) -> dict[str, object]:
    """Strip all text, and leave out ports that a platform sets: Kubernetes gives each pod `<SERVICE>_PORT=tcp://...`."""
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    return {
        name: value
        for name, value in stripped.items()
        if not (name.endswith("_port") and isinstance(value, str) and _PLATFORM_PORT.match(value))
    }


def split_url(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Parse a URL with a host. Raises ValueError, whose text shows nothing of it."""
    if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or _FORBIDDEN.search(text):
        raise ValueError(
            f"must be {schemes[0]}://host or {schemes[0]}://host:port, without spaces; {_ESCAPES}"
        )
    return parts


def database_url(text: str) -> str:
    """Return the address of a database, of one host or more, or a socket's. Raises ValueError, as `split_url`."""
    parts = urlsplit(text)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if (
        parts.scheme not in ("postgresql", "postgres")
        or parts.fragment
        or _FORBIDDEN.search(text)
        or not all(_HOST.fullmatch(host) for host in hosts)
    ):
        raise ValueError(f"must be postgresql://user:password@host:port/database; {_ESCAPES}")
    return text


def http_url(text: str) -> str:
    """Return an HTTP address without its trailing slashes. Raises ValueError."""
    if text:
        split_url(text, ("http", "https"))
    return text.rstrip("/")


def origins(text: str) -> list[str]:
    """Return the origins of a comma-separated list as browsers send them. Raises ValueError for one that no browser
    sends."""
    return [_origin(entry) for entry in filter(None, (part.strip() for part in text.split(",")))]


def _origin(text: str) -> str:
    try:
        parts = split_url(text.rstrip("/").lower(), ("http", "https"))
    except ValueError:
        parts = None
    if (
        parts is None
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or "*" in parts.netloc
    ):
        raise ValueError(
            f"holds {text[:100]!r}, which is not an origin: list each as scheme://host or scheme://host:port, as in "
            "https://app.example.org"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def require_strong(name: str, secret: str) -> None:
    """Raise ValueError for a secret that can be guessed."""
    if secret and len(secret) < LEAST_SECRET_CHARACTERS:
        raise ValueError(
            f"{name.upper()} must have at least {LEAST_SECRET_CHARACTERS} characters where ZMART_ENV is not local"
        )


def host_in_url(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
