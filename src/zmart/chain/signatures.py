"""Validate transaction signatures as text, for everything that names a transaction."""

from __future__ import annotations

from solders.signature import Signature as SoldersSignature

from zmart.errors import DecodeError
from zmart.market.encodings import describe
from zmart.market.json_input import described
from zmart.market.types import Signature

MAX_CHARS = 88


def is_signature(text: object) -> bool:
    """Return whether `text` is base58 of exactly 64 bytes; checked by value, not by length."""
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        return False
    try:
        SoldersSignature.from_string(text)
    except ValueError:
        return False
    return True


def parse_signature(text: object) -> Signature:
    """Validate a signature. Raises DecodeError."""
    if not isinstance(text, str):
        raise DecodeError(f"{described(text)} is not a signature, base58 of 64 bytes.")
    if not is_signature(text):
        raise DecodeError(f"{text[:100]!r} is not a signature, base58 of 64 bytes: this is {describe(text)}.")
    return Signature(text)
