"""Define which transactions this release reads, and how many bytes one may have on the wire.

The formats: https://solana.com/docs/core/transactions; version 1 is SIMD-0385, on mainnet since 2026-09-15.
"""

from __future__ import annotations

from zmart.errors import UnsupportedVersion
from zmart.market.json_input import described

NEWEST_READABLE_VERSION = 1
"""The newest that `transactions.parse_transaction` and `wire.read_signed` read, and the ceiling of every request."""

UNSUPPORTED_VERSION_CODE = -32015
"""JSON-RPC's code where a transaction is newer than the ceiling of the request."""

MAX_PACKET_BYTES = 1_232
MAX_V1_BYTES = 4_096
_VERSION_BIT = 0x80


def max_transaction_bytes(raw: bytes) -> int:
    """Return the maximum size in bytes of a transaction of the version that `raw` begins with.

    Legacy and version 0 begin with the number of their signatures, later ones with their version.
    """
    return MAX_V1_BYTES if raw[:1] >= bytes([_VERSION_BIT]) else MAX_PACKET_BYTES


def check_readable(version: object) -> None:
    """Check a version as a node reports it: "legacy", a number, or None if omitted. Raises UnsupportedVersion."""
    if version is None or version == "legacy":
        return
    if type(version) is not int or not 0 <= version <= NEWEST_READABLE_VERSION:
        raise UnsupportedVersion(
            f"The transaction has version {described(version)}; this release reads legacy and 0 to "
            f"{NEWEST_READABLE_VERSION}. It is stored; a newer release will read it."
        )
