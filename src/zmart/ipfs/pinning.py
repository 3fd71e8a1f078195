"""Define what any pin provider does: keep bytes under their CID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from zmart.errors import ZmartError


class PinError(ZmartError):
    """A pin provider or an IPFS gateway was unavailable, refused, or answered with other bytes than ours."""


class Pinned(msgspec.Struct, frozen=True):
    """A file that a provider keeps. `provider_id` is the provider's own name for it, empty when it gives none."""

    cid: str
    provider: str
    provider_id: str
    size_bytes: int


class PinClient(Protocol):
    """A provider that keeps bytes under their CID. Every call may be repeated without harm."""

    name: str

    async def pin(
        self, data: bytes, name: str, *, cid_version: int = 1, keyvalues: Mapping[str, str] | None = None
    ) -> Pinned:
        """Upload `data` as a file. Raises PinError, also when the CID that comes back is not ours."""
        ...

    async def unpin(self, cid: str) -> bool:
        """Release `cid`; False when it was not pinned. Raises PinError."""
        ...

    async def is_pinned(self, cid: str) -> bool:
        """Return whether `cid` is pinned. Raises PinError."""

    async def check(self) -> None:
        """Raise PinError when the provider is unavailable or refuses our credentials."""
        ...
