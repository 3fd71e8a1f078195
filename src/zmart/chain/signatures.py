"""Validate transaction signatures in base58."""

from __future__ import annotations

from solders.signature import Signature as SoldersSignature

from zmart.errors import DecodeError
from zmart.market.encodings import describe
from zmart.market.json_input import described
from zmart.market.types import Signature

MAX_CHARS = 88
"""The most characters of 64 bytes in base58."""


def is_signature(text: object) -> bool:
    """Return whether `text` is base58 of exactly 64 bytes. The text is decoded: its length alone does not tell."""
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        return False
    try:
        SoldersSignature.from_string(text)
    except ValueError:
        return False
    return True


def parse_signature(text: object) -> Signature:
    """Return `text` as a Signature. Raises DecodeError if it is not base58 of exactly 64 bytes."""
    if not isinstance(text, str):
        raise DecodeError(f"{described(text)} is not a signature, base58 of 64 bytes.")
    if not is_signature(text):
        raise DecodeError(f"{text[:100]!r} is not a signature, base58 of 64 bytes: this is {describe(text)}.")
    return Signature(text)
