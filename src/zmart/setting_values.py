"""Check the text of settings when a process starts: addresses, origins, secrets.

No error message shows a value that may be secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from zmart.bearer import credentials

LEAST_SECRET_CHARACTERS = 32
"""The fewest characters of a secret, unless ZMART_ENV is local."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]/?#]*)(?::(?P<port>\d{1,5}))?", re.ASCII)
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_TOKEN = re.compile(r"[\x20-\x7e]*", re.ASCII)
_LAST_PORT = 65_535
_MAPPED = IPv6Network("::ffff:0:0/96")
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
_ESCAPES = (
    "special characters of a user name or password are written as %XX ('#' as %23, '/' as %2F, '@' as %40)"
)
_CASELESS = {"zmart_env", "log_level", "pricing_model", "dispute_review"}
_FORMER_PORTS = {"providers_port", "chain_rpc_port", "chain_ws_port", "postgres_port", "redis_port"}
_PLATFORM_PORT = re.compile(r"(?:tcp|udp|sctp)://", re.ASCII)


def clean(values: Mapping[str, object]) -> dict[str, object]:
    """Return the settings with their text stripped, and words whose case does not matter in lower case.

    Text of white space only is left out. So are ports that a platform sets: Kubernetes gives each pod
    `<SERVICE>_PORT=tcp://...`. Raises ValueError for text with the character NUL.
    """
    return {name: _stripped(name, value) for name, value in values.items() if not _says_nothing(name, value)}


def of_ours(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the variables without those that a platform set under the former name of a setting.

    These are variables with a former name of a port, whose value is no number.
    """
    return {
        name: value
        for name, value in variables.items()
        if not (name in _FORMER_PORTS and not (value or "").strip().isdecimal())
    }


def _stripped(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError(f"{name.upper()} must not contain the character NUL")
    return value.strip().lower() if name in _CASELESS else value.strip()


def _says_nothing(name: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    is_blank = bool(value) and not value.strip()
    return is_blank or (name.endswith("_port") and _PLATFORM_PORT.match(value.strip()) is not None)


def split_url(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Parse a URL that has a host.

    Raises ValueError if it is invalid or has none of the `schemes`. The message shows nothing of the URL.
    """
    if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    # The part after a # is never sent, and may belong to a password that was not escaped.
    if not host or port == 0 or _FORBIDDEN.search(text) or "#" in text or not _is_host(host):
        raise ValueError(
            f"must be {schemes[0]}://host or {schemes[0]}://host:port, without spaces; {_ESCAPES}"
        )
    return parts


def database_url(text: str) -> str:
    """Return the URL of a PostgreSQL database, with one host, several hosts or a socket.

    Raises ValueError if it is invalid; the message shows nothing of it.
    """
    try:
        parts = urlsplit(text)
    except ValueError:  # its text may hold the password
        parts = urlsplit("")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if (
        parts.scheme not in ("postgresql", "postgres")
        or "#" in text
        or _FORBIDDEN.search(text)
        or not all(_is_server(host) for host in hosts)
    ):
        raise ValueError(f"must be postgresql://user:password@host:port/database; {_ESCAPES}")
    mode = parse_qs(parts.query).get("sslmode", ["prefer"])[-1]
    if mode not in _SSL_MODES:
        raise ValueError(f"must have a sslmode of {', '.join(sorted(_SSL_MODES))}")
    return text


def _is_server(host: str) -> bool:
    matched = _HOST.fullmatch(host)
    return matched is not None and 0 < int(matched["port"] or 1) <= _LAST_PORT


def redis_url(text: str) -> str:
    """Return the URL of a Redis, or of its socket file; an empty URL is accepted.

    Raises ValueError if it is invalid; the message shows nothing of it.
    """
    if text and not text.startswith("unix:///"):
        parts = split_url(text, ("redis", "rediss"))
        number = parts.path.removeprefix("/")
        if "#" in text or not (number == "" or (number.isascii() and number.isdigit())):
            raise ValueError(f"must be redis://:password@host:port/number; {_ESCAPES}")
    return text


def http_url(text: str) -> str:
    """Return an HTTP URL without its trailing slashes; an empty one is accepted. Raises ValueError."""
    if text:
        split_url(text, ("http", "https"))
    return text.rstrip("/")


def base_url(text: str) -> str:
    """Return an HTTP URL to which paths are appended, without its trailing slashes; an empty one is accepted.

    Raises ValueError if it is invalid or has a query.
    """
    if "?" in text:
        raise ValueError("must be http://host:port/path without a ? and a query: paths are appended to it")
    return http_url(text)


def public_url(text: str, schemes: tuple[str, ...]) -> str:
    """Return a URL that clients are shown, without its trailing slashes; an empty one is accepted.

    Raises ValueError if it is invalid, or holds a user name, a password, a query or a fragment.
    """
    if text:
        parts = split_url(text, schemes)
        if "@" in parts.netloc or parts.query or "#" in text:
            raise ValueError(
                f"is shown to clients: it must be {schemes[0]}://host:port/path and nothing more"
            )
    return text.rstrip("/")


def bind_host(text: str) -> str:
    """Return an IP address or a host name to listen on. Raises ValueError for anything else."""
    host = text.removeprefix("[").removesuffix("]")
    if not _is_host(host):
        raise ValueError("must be an address or a host name, without a scheme and a port, like 0.0.0.0")
    return host


def domain(text: str) -> str:
    """Return `host` or `host:port` in lower case, as wallets show it; an empty text is accepted. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        is_right = not text or (parts.netloc == text and "@" not in text and _is_host(parts.hostname or ""))
        is_right = is_right and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError("must be a host, or host:port, without a scheme and a path, like app.example.org")
    return text.lower()


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse a comma-separated list of IP addresses and networks. Raises ValueError, which names an invalid entry."""
    parsed: list[IPv4Network | IPv6Network] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            parsed.append(_unmapped(ip_network(part, strict=False)))
        except ValueError:
            raise ValueError(
                f"holds {part[:100]!r}, which is neither an address nor a network (10.0.0.0/8)"
            ) from None
    return tuple(parsed)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network for an IPv6 network that maps one (::ffff:10.0.0.0/104), else the network itself.

    Client addresses are compared in the IPv4 form.
    """
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    address = network.network_address.ipv4_mapped
    assert address is not None
    return IPv4Network((address, network.prefixlen - _MAPPED.prefixlen))


def token(text: str) -> str:
    """Return a secret that is sent in a header, without the word Bearer.

    Raises ValueError if a header cannot carry it, or if it is in quotation marks.
    """
    text = credentials(text.lstrip()).strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    if is_quoted or not _TOKEN.fullmatch(text):
        raise ValueError("must consist of visible ASCII characters, without quotation marks around them")
    return text


def header_value(text: str) -> str:
    """Return a secret that is compared with a whole header. Raises ValueError if a header cannot carry it."""
    if not _TOKEN.fullmatch(text):
        raise ValueError("must consist of visible ASCII characters and spaces, as a header does")
    return text


def path(value: Path) -> Path:
    """Return a path with `~` replaced by the home folder. Raises ValueError if there is no home folder."""
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, but the home folder is unknown: write the whole path") from None


def folder(value: Path) -> Path:
    """Return the path of a folder that exists or can be created.

    Raises ValueError if something else has that path.
    """
    value = path(value)
    try:
        is_other = not stat.S_ISDIR(os.stat(value).st_mode)
    except (FileNotFoundError, PermissionError):  # the code that needs the folder reports it
        return value
    except OSError as problem:
        raise ValueError(f"names {value}, which cannot be a folder ({problem.strerror})") from None
    if is_other:
        raise ValueError(f"names {value}, which is not a folder")
    return value


def off_or_at_least(value: float, least: float) -> float:
    """Return a number that is 0, for "off", or at least `least`. Raises ValueError for a number between them."""
    if 0 < value < least:
        raise ValueError(f"must be 0 (off), or at least {least:g}")
    return value


def origins(text: str) -> list[str]:
    """Return the origins of a comma-separated list as browsers send them.

    Raises ValueError for an entry that is no origin.
    """
    return [origin_of(entry) for entry in filter(None, (part.strip() for part in text.split(",")))]


def origin_of(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without a default port. Raises ValueError for other text."""
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
        entry = "an entry" if "@" in text else repr(text[:100])  # the part before an @ may be a password
        raise ValueError(
            f"holds {entry}, which is not an origin: list each as scheme://host or scheme://host:port, as in "
            "https://app.example.org"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def require_strong(name: str, secret: str) -> None:
    """Raise ValueError for a secret that is too short: it can be guessed. An empty secret is accepted.

    `name` is the name of the setting.
    """
    if secret and len(credentials(secret)) < LEAST_SECRET_CHARACTERS:
        raise ValueError(
            f"{name.upper()} must have at least {LEAST_SECRET_CHARACTERS} characters where ZMART_ENV is not local"
        )


def _is_host(text: str) -> bool:
    """Return whether `text` is an IP address or a host name."""
    try:
        ip_address(text)
    except ValueError:
        is_dotted_number = re.fullmatch(r"[0-9.]+", text) is not None
        return not is_dotted_number and _HOST_NAME.fullmatch(text) is not None
    return True


def is_loopback(netloc: str) -> bool:
    """Return whether a host, with or without a port, is this machine.

    These are localhost, names that end in .localhost, 127.0.0.0/8 and ::1.
    """
    try:
        host = urlsplit(f"//{netloc}").hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_origin(text: str) -> bool:
    """Return whether `text` is the origin of a page on this machine, as browsers send it."""
    try:
        return text == origin_of(text) and is_loopback(urlsplit(text).netloc)
    except ValueError:
        return False


def reachable(host: str) -> str:
    """Return the host at which this machine reaches a server that listens on `host`, as it is written in a URL."""
    is_here = host in ("0.0.0.0", "::", "127.0.0.1", "localhost")  # noqa: S104  # compared, not bound
    return "127.0.0.1" if is_here else host_in_url(host)


def host_in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
