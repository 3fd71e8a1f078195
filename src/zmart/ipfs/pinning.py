"""Define the interface of a pinning provider, which stores files under their CIDs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from zmart.errors import ZmartError


class PinError(ZmartError):
    """Report that a pinning provider or an IPFS gateway is unavailable, refused, or sent a wrong CID or wrong bytes."""


class Pinned(msgspec.Struct, frozen=True):
    """A file that a provider has pinned; `provider_id` is the provider's own id of the pin, empty if it has none."""

    cid: str
    provider: str
    provider_id: str
    size_bytes: int


class PinClient(Protocol):
    """A client of a pinning provider, whose name is `name`. Every call may be repeated without harm."""

    name: str

    async def pin(
        self, data: bytes, name: str, *, cid_version: int = 1, keyvalues: Mapping[str, str] | None = None
    ) -> Pinned:
        """Upload `data` as the file `name` and return its pin. Raises PinError, also if the provider's CID differs."""
        ...

    async def unpin(self, cid: str) -> bool:
        """Unpin `cid`, and return False if it was not pinned. Raises PinError."""
        ...

    async def is_pinned(self, cid: str) -> bool:
        """Return whether `cid` is pinned. Raises PinError."""

    async def check(self) -> None:
        """Raise PinError if the provider is unavailable or refuses our credentials."""
        ...
