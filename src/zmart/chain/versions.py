"""Define which transaction versions this release reads, and how many bytes a transaction may have on the wire.

The formats: https://solana.com/docs/core/transactions; version 1 is SIMD-0385, on mainnet since 2026-09-15.
"""

from __future__ import annotations

from zmart.errors import UnsupportedVersion
from zmart.market.json_input import described

NEWEST_READABLE_VERSION = 1
"""The newest version that `parse_transaction` reads, and the maxSupportedTransactionVersion of every request."""

UNSUPPORTED_VERSION_CODE = -32015
"""The JSON-RPC error code for a transaction that is newer than the request's maxSupportedTransactionVersion."""

MAX_PACKET_BYTES = 1_232
"""Maximum size in bytes of a legacy or version 0 transaction."""
MAX_V1_BYTES = 4_096
"""Maximum size in bytes of a version 1 transaction."""
_VERSION_BIT = 0x80


def max_transaction_bytes(raw: bytes) -> int:
    """Return the maximum size in bytes of a transaction of the version that `raw` begins with.

    Legacy and version 0 transactions begin with the number of their signatures. Later ones begin with a version byte,
    whose highest bit is set.
    """
    return MAX_V1_BYTES if raw[:1] >= bytes([_VERSION_BIT]) else MAX_PACKET_BYTES


def check_readable(version: object) -> None:
    """Check a version as a node reports it: "legacy", a number, or None if the node omits it.

    Raises UnsupportedVersion if this release cannot read it.
    """
    if version is None or version == "legacy":
        return
    if type(version) is not int or not 0 <= version <= NEWEST_READABLE_VERSION:
        raise UnsupportedVersion(
            f"The transaction has version {described(version)}; this release reads legacy and 0 to "
            f"{NEWEST_READABLE_VERSION}. It is stored; a newer release will read it."
        )
