"""Decode bytes that clients write as text: base58, as Solana's tools do, or base64 or hex, as other libraries do."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import base58
import msgspec

from zmart.errors import Unauthenticated
from zmart.market.identifiers import BASE58
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Signature

SIGNATURE_BYTES = 64
_MAX_CHARS = 400
"""Maximum length of text whose encoding is guessed: decoding base58 takes quadratic time."""
_DIRECT_CHARS = 256
_BASE58 = re.compile(f"{BASE58}+")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def read_signature(text: str) -> Signature:
    """Return a signature of 64 bytes in base58, from text in base58, base64 or hex.

    White space around the text is ignored. Raises Unauthenticated for any other text; the message names the encoding
    that the text seems to have.
    """
    for _, raw in _decoded(text.strip()):
        if len(raw) == SIGNATURE_BYTES:
            return Signature(base58.b58encode(raw).decode())
    raise Unauthenticated(
        f"The signature must be {SIGNATURE_BYTES} bytes in base58, base64 or hex; this one is {describe(text)}."
    )


def decode_base58(text: str) -> bytes:
    """Return the bytes of text in base58, also of long text. Raises ValueError.

    Long text is halved and its halves are decoded separately: 10 KiB take 6 ms, where the library alone takes 100 ms,
    as its time is quadratic.
    """
    if len(text) <= _DIRECT_CHARS:
        return base58.b58decode(text)
    if not _BASE58.fullmatch(text):
        raise ValueError("The text holds a character that base58 does not have.")
    digits = text.lstrip("1")
    number, zeros = _base58_number(digits), len(text) - len(digits)
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base58_number(digits: str) -> int:
    if len(digits) <= _DIRECT_CHARS:
        return int.from_bytes(base58.b58decode(digits), "big")
    middle = len(digits) // 2
    low = len(digits) - middle
    return _base58_number(digits[:middle]) * int(58**low) + _base58_number(digits[middle:])


def describe(text: str) -> str:
    """Name the encoding and the number of bytes of a text, e.g. "base64 of 64 bytes".

    If several encodings are possible, the most likely one is named. White space around the text is mentioned.
    """
    bare = text.strip()
    around = ", with white space around it" if bare and bare != text else ""
    return f"{_description(bare)}{around}"


def _description(text: str) -> str:
    if len(text) > _MAX_CHARS and not text.startswith("["):
        return f"a text of {len(text)} characters"
    for name, raw in sorted(_decoded(text), key=lambda item: _distance(len(item[1]))):
        return f"{name} of {len(raw)} byte{'s' if len(raw) != 1 else ''}"
    try:
        return f"a list of {len(msgspec.json.decode(text, type=list[int]))} numbers"
    except JSON_ERRORS:
        return "in none of these encodings" if text else "empty"


def _distance(size: int) -> int:
    """Return how far a number of bytes is from that of a signature (64) or an address (32), the nearer of the two."""
    return min(abs(size - SIGNATURE_BYTES), abs(size - 32))


def _decoded(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every encoding in which a text can be decoded."""
    if len(text) > _MAX_CHARS:
        return
    if _BASE58.fullmatch(text):
        yield "base58", base58.b58decode(text)
    if matched := _HEX.fullmatch(text):
        yield "hex", bytes.fromhex(matched[1])
        if text.startswith("0x"):
            return
    if _BASE64.fullmatch(text):
        bare = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            yield "base64", base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except ValueError:
            return
