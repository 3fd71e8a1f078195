"""Read and write content identifiers, as text and as bytes: CIDv0 and base32 CIDv1 over SHA-256.

Source: github.com/multiformats/cid, multihash and unsigned-varint. Only the two codecs of IPFS files are known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import base58
import msgspec

from zmart.errors import Invalid

RAW = 0x55
DAG_PB = 0x70

_SHA2_256 = b"\x12\x20"
_DIGEST_BYTES = 32
_V0_TEXT_LENGTH = 46
_V1_TEXT_LENGTH = 59
_VARINT_MAX_BYTES = 9


class Cid(msgspec.Struct, frozen=True):
    """A content identifier: `version` is 0 or 1, `codec` RAW or DAG_PB, `digest` the SHA-256 of the block."""

    version: int
    codec: int
    digest: bytes

    @classmethod
    def of_block(cls, version: int, codec: int, block: bytes) -> Cid:
        """Return the CID with this version and codec and the SHA-256 of `block`."""
        return cls(version, codec, hashlib.sha256(block).digest())

    @property
    def binary(self) -> bytes:
        """The CID in its byte form, as links and CAR files contain it."""
        multihash = _SHA2_256 + self.digest
        return multihash if self.version == 0 else bytes((1, self.codec)) + multihash

    def __str__(self) -> str:
        if self.version == 0:
            return base58.b58encode(self.binary).decode()
        return "b" + base64.b32encode(self.binary).decode().lower().rstrip("=")

    def matches(self, block: bytes) -> bool:
        """Return whether `block` is the block that this CID names."""
        return hashlib.sha256(block).digest() == self.digest


def parse_cid(text: str) -> Cid:
    """Parse a CID.

    Raises Invalid for any text that is not a canonical CIDv0 or base32 CIDv1 of SHA-256 with codec raw or dag-pb.
    """
    try:
        cid = cid_from_binary(_binary_of(text))
    except (ValueError, binascii.Error):
        raise Invalid("cid", "This is not a CIDv0 (Qm...) or a base32 CIDv1 (baf...) of SHA-256.") from None
    if str(cid) != text:
        raise Invalid("cid", "This content identifier is not written in its canonical form.")
    return cid


def cid_from_binary(binary: bytes) -> Cid:
    """Return the CID of its byte form. Raises ValueError for another hash than SHA-256 or an unknown codec."""
    if len(binary) == len(_SHA2_256) + _DIGEST_BYTES and binary.startswith(_SHA2_256):
        return Cid(0, DAG_PB, binary[2:])
    if len(binary) != 4 + _DIGEST_BYTES or binary[0] != 1 or binary[2:4] != _SHA2_256:
        raise ValueError("not a CID of SHA-256")
    if binary[1] not in (RAW, DAG_PB):
        raise ValueError("neither raw nor dag-pb")
    return Cid(1, binary[1], binary[4:])


def varint(number: int) -> bytes:
    """Encode a number as unsigned LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number at position `at`, and the position after it.

    Raises ValueError if the number is truncated or has more than nine bytes.
    """
    number = shift = 0
    for position in range(at, min(at + _VARINT_MAX_BYTES, len(data))):
        number |= (data[position] & 0x7F) << shift
        if data[position] < 0x80:
            return number, position + 1
        shift += 7
    raise ValueError("a varint is cut off or too long")


def _binary_of(text: str) -> bytes:
    if len(text) == _V0_TEXT_LENGTH and text.startswith("Qm"):
        return base58.b58decode(text)
    if len(text) == _V1_TEXT_LENGTH and text.startswith("b"):
        return base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
    raise ValueError("unknown form")
