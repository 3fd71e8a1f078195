"""Style and script of the pages, read once. Their address holds a digest of all of them, so that browsers keep what
has not changed and never mix two versions."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@lru_cache(maxsize=1)
def files() -> dict[str, bytes]:
    """Every file that is served, by its path below static/."""
    found: dict[str, bytes] = {}
    _collect(resources.files("zmart.services.gateway.explorer") / "static", "", found)
    return found


@lru_cache(maxsize=1)
def version() -> str:
    """Changes when any of the files does."""
    digest = hashlib.blake2b(digest_size=6)
    for name, content in sorted(files().items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def address(name: str) -> str:
    """Where a page finds the file."""
    return f"/static/{version()}/{name}"


def kind_of(name: str) -> str | None:
    """The media type; None for what is not served."""
    return KINDS.get(name[name.rfind(".") :]) if "." in name else None


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for item in folder.iterdir():
        name = prefix + item.name
        if item.is_dir():
            _collect(item, f"{name}/", found)
        elif kind_of(name) is not None:
            found[name] = item.read_bytes()
