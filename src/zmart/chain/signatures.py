"""Transaction signatures as text: the one rule for whatever names a transaction."""

from __future__ import annotations

from solders.signature import Signature as SoldersSignature

from zmart.errors import DecodeError
from zmart.market.types import Signature

MAX_CHARS = 88


def is_signature(text: object) -> bool:
    """Whether it is base58 of exactly 64 bytes. By value: not all 88 letters of its alphabet are 64 bytes."""
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        return False
    try:
        SoldersSignature.from_string(text)
    except ValueError:
        return False
    return True


def parse_signature(text: object) -> Signature:
    """Raises DecodeError."""
    if not isinstance(text, str) or not is_signature(text):
        raise DecodeError(f"{str(text)[:100]!r} is not a signature: base58 of 64 bytes.")
    return Signature(text)
