"""What a transaction says, in a hundred bytes: to compare what a webhook delivered with what our own RPC shows.

Only what the chain fixed goes into it. Two honest sources may differ in the block's time, the place in the block,
which keys stand in the message and which were loaded, a missing `version`, `stackHeight` or list of inner instructions.
What a stack height decides about an event is compared by the events themselves.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from zmart.chain.transactions import ChainTransaction, Extracted
from zmart.market.types import Slot

_BYTES = 16
_NOTHING = b""
_encode = msgspec.msgpack.Encoder().encode


class ContentDigest(msgspec.Struct, frozen=True, array_like=True):
    """Slot, version and hashes of 16 bytes each. `version`, `logs` and `inner` are None where the source does not
    tell; what a missing log would have said is in `events`."""

    slot: Slot
    version: str | int | None
    error: bytes
    logs: bytes | None
    instructions: bytes
    inner: bytes | None
    events: bytes

    def packed(self) -> bytes:
        return _encode(self)


_decoder = msgspec.msgpack.Decoder(ContentDigest)
_OPTIONAL = ("version", "logs", "inner")
_NAMES = {"logs": "log lines", "inner": "inner instructions"}


def digest_of(tx: ChainTransaction, extracted: Extracted) -> ContentDigest:
    """The digest of a transaction and the program's events that were read from it."""
    outer = [(item.program_id, item.accounts, item.data_base58) for item in tx.instructions if not item.inner]
    inner = [
        (place, item.program_id, item.accounts, item.data_base58)
        for place, item in enumerate(tx.instructions)
        if item.inner
    ]
    told = [(event.ordinal, event.event) for event in extracted.events]
    return ContentDigest(
        slot=tx.slot,
        version=tx.version,
        error=_NOTHING if tx.err is None else _hash(repr(tx.err)),
        logs=_hash(tx.logs) if tx.logs else None,
        instructions=_hash(outer),
        inner=(_hash(inner) if inner else _NOTHING) if tx.has_inner else None,
        events=_hash((told, extracted.strange, len(extracted.lost))),
    )


def unpacked(packed: bytes) -> ContentDigest:
    """Raises DecodeError of msgspec for what `packed` did not give."""
    return _decoder.decode(packed)


def differences(delivered: ContentDigest, own: ContentDigest) -> list[str]:
    """The names of what differs, in the words of an alert; empty when both say the same."""
    found = []
    for field in ContentDigest.__struct_fields__:
        ours, theirs = getattr(own, field), getattr(delivered, field)
        if field in _OPTIONAL and (ours is None or theirs is None):
            continue
        if ours != theirs:
            found.append(_NAMES.get(field, field))
    return found


def _hash(value: object) -> bytes:
    return sha256(_encode(value)).digest()[:_BYTES]
