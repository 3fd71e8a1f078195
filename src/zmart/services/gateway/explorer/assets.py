"""Provide the styles, scripts and images of the pages. Their addresses contain a digest of all files, so that browsers
can cache a file permanently, and no page mixes files of two versions from a cache."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_COMPRESSED = ".gz"


@lru_cache(maxsize=1)
def files() -> dict[str, bytes]:
    """Return the content of every served file, by its path below static/."""
    contents: dict[str, bytes] = {}
    _collect(resources.files("zmart.services.gateway.explorer") / "static", "", contents)
    return contents


@lru_cache(maxsize=1)
def version() -> str:
    """Return the digest of all served files: 12 hex characters."""
    digest = hashlib.blake2b(digest_size=6)
    for name, content in sorted(files().items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def content_of(name: str, *, accepts_gzip: bool) -> tuple[bytes, bool] | None:
    """Return a file's bytes, and whether they are compressed (gzip); None if there is no such file. Large files are
    stored compressed. They are decompressed, once, for clients that do not accept gzip."""
    if (plain := files().get(name)) is not None:
        return plain, False
    if (compressed := files().get(name + _COMPRESSED)) is None:
        return None
    return (compressed, True) if accepts_gzip else (_decompressed(name), False)


def has_codings(name: str) -> bool:
    """Return whether a file is sent compressed to clients that accept it, and as it is to others."""
    return name + _COMPRESSED in files()


@lru_cache(maxsize=4)
def _decompressed(name: str) -> bytes:
    return gzip.decompress(files()[name + _COMPRESSED])


def address(name: str) -> str:
    """Return the path under which pages link to the file `name` below static/."""
    return f"/static/{version()}/{name}"


def kind_of(name: str) -> str | None:
    """Return the media type of a file; None for files that are not served."""
    return KINDS.get(name[name.rfind(".") :]) if "." in name else None


def _collect(folder: Traversable, prefix: str, contents: dict[str, bytes]) -> None:
    for item in folder.iterdir():
        name = prefix + item.name
        if item.is_dir():
            _collect(item, f"{name}/", contents)
        elif kind_of(name.removesuffix(_COMPRESSED)) is not None:
            contents[name] = item.read_bytes()
