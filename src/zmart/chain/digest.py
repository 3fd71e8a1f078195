"""Digest a transaction to about a hundred bytes, to compare a webhook's delivery with the RPC's answer.

The digest covers only what two honest sources must agree on. They may differ in the block's time, in the position in
the block, and in which keys the message lists and which were loaded from lookup tables. They may also omit `version`,
`stackHeight` or the inner instructions. A stack height can decide whether a payload is an event, so the events are
compared themselves.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from zmart.chain.event_extraction import Extracted
from zmart.chain.transactions import ChainTransaction
from zmart.market.types import Slot

_BYTES = 16
_NOTHING = b""
_encode = msgspec.msgpack.Encoder().encode


class ContentDigest(msgspec.Struct, frozen=True, array_like=True):
    """Hold the slot, the version and hashes of 16 bytes each.

    `version` and `inner` are None if the source omits them, `logs` also if the log is empty. `error` is b"" for a
    successful transaction, `inner` is b"" for one without inner instructions. `events` covers the events, the
    undecodable payloads and the number of lost events.
    """

    slot: Slot
    version: str | int | None
    error: bytes
    logs: bytes | None
    instructions: bytes
    inner: bytes | None
    events: bytes

    def packed(self) -> bytes:
        """Return the digest as bytes; `unpacked` restores it."""
        return _encode(self)


_decoder = msgspec.msgpack.Decoder(ContentDigest)
_OPTIONAL = ("version", "logs", "inner")
_NAMES = {"logs": "log lines", "inner": "inner instructions"}


def digest_of(tx: ChainTransaction, extracted: Extracted) -> ContentDigest:
    """Return the digest of a transaction and of the program's events that were read from it."""
    outer: list[tuple[object, ...]] = []
    inner: list[tuple[object, ...]] = []
    for position, item in enumerate(tx.instructions):
        if item.inner:
            inner.append((position, item.program_id, item.accounts, item.data_base58))
        else:
            outer.append((item.program_id, item.accounts, item.data_base58))
    events = [(event.ordinal, event.event) for event in extracted.events]
    return ContentDigest(
        slot=tx.slot,
        version=tx.version,
        error=_NOTHING if tx.err is None else _hash(repr(tx.err)),
        logs=_hash(tx.logs) if tx.logs else None,
        instructions=_hash(outer),
        inner=(_hash(inner) if inner else _NOTHING) if tx.has_inner else None,
        events=_hash((events, extracted.undecodable, len(extracted.lost))),
    )


def unpacked(packed: bytes) -> ContentDigest:
    """Restore a digest from the bytes that `packed` returned. Raises msgspec.DecodeError for other bytes."""
    return _decoder.decode(packed)


def differences(delivered: ContentDigest, own: ContentDigest) -> list[str]:
    """Return the names of the parts that differ, as alerts show them; an empty list if both digests agree.

    A version, log or list of inner instructions that one side omits is not compared.
    """
    names = []
    for field in ContentDigest.__struct_fields__:
        ours, theirs = getattr(own, field), getattr(delivered, field)
        if field in _OPTIONAL and (ours is None or theirs is None):
            continue
        if ours != theirs:
            names.append(_NAMES.get(field, field))
    return names


def _hash(value: object) -> bytes:
    return sha256(_encode(value)).digest()[:_BYTES]
