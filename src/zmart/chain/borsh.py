"""Encode and decode Borsh with codecs that are compiled once for each type of the IDL.

Consecutive fields of fixed size become one struct.Struct. In Python, a pubkey is base58 text, `[u8; 32]` is lower-case
hex, and any other byte array is text (see `text_of`). An option is None or the value, an enum is a member of the
domain's Enum.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Protocol

from solders.pubkey import Pubkey

from zmart.chain.idl import ByteArray, Defined, EnumDef, Field, FieldType, Idl, OptionOf, Primitive
from zmart.errors import ConfigError, DecodeError, Invalid
from zmart.market.types import MarketState, VoteKind

ENUMS: Mapping[str, Sequence[Enum]] = {"MarketState": tuple(MarketState), "VoteType": tuple(VoteKind)}
"""The domain's enum members for each enum of the IDL, in the order of its variants."""
_INTEGERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q"}
_BAD_INPUT = (struct.error, IndexError, ValueError, TypeError, KeyError)


class Codec(Protocol):
    """Decode a value of one type at an offset, or encode it."""

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        """Return the value and the offset after it."""

    def write(self, value: object) -> bytes:
        """Return the value's bytes."""


class Scalar:
    """Encode a type of fixed size with a struct format.

    `decode` and `encode` convert between the format's value and the Python value; without `decode` the two are equal.
    """

    def __init__(
        self,
        layout: str,
        decode: Callable[..., object] | None,
        encode: Callable[..., object],
    ) -> None:
        self.layout = layout
        self.decode = decode
        self._encode = encode
        self._struct = struct.Struct("<" + layout)

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        """Return the value and the offset after it."""
        (raw,) = self._struct.unpack_from(data, at)
        return (self.decode(raw) if self.decode else raw), at + self._struct.size

    def write(self, value: object) -> bytes:
        """Return the value's bytes."""
        return self._struct.pack(self._encode(value))


class Option:
    """Encode None as a byte 0, and any other value as a byte 1 and the value."""

    def __init__(self, inner: Codec) -> None:
        self._inner = inner

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        """Return the value or None, and the offset after it.

        Raises ValueError for a first byte above 1.
        """
        if data[at] == 0:
            return None, at + 1
        if data[at] != 1:
            raise ValueError("an option starts with a byte other than 0 or 1")
        return self._inner.read(data, at + 1)

    def write(self, value: object) -> bytes:
        """Return the bytes of the value, or of None."""
        return b"\0" if value is None else b"\1" + self._inner.write(value)


class StructCodec:
    """Encode and decode a record of named fields. `read` returns them as a dict, in the IDL's order."""

    def __init__(self, name: str, fields: Sequence[tuple[str, Codec]]) -> None:
        self.name = name
        self._fields = fields
        self._names = tuple(name for name, _ in fields)
        self._runs = _runs([codec for _, codec in fields])

    def read(self, data: bytes, at: int = 0) -> tuple[dict[str, object], int]:
        """Decode the fields at the offset `at`; return them and the offset after them. Raises DecodeError."""
        values: list[object] = []
        try:
            for run in self._runs:
                at = run(data, at, values)
        except _BAD_INPUT as error:
            raise DecodeError(f"{len(data)} bytes are not a {self.name}: {error}") from error
        return dict(zip(self._names, values, strict=True)), at

    def write(self, values: Mapping[str, object]) -> bytes:
        """Return the fields' bytes. Raises Invalid, which names a field that does not fit its type."""
        return b"".join(_write_field(name, codec, values[name]) for name, codec in self._fields)


_Run = Callable[[bytes, int, list[object]], int]


def _write_field(name: str, codec: Codec, value: object) -> bytes:
    try:
        return codec.write(value)
    except _BAD_INPUT as error:
        raise Invalid(name, f"{name} does not fit its type on chain: {error}") from error


def _runs(codecs: Sequence[Codec]) -> list[_Run]:
    runs: list[_Run] = []
    fixed: list[Scalar] = []
    for codec in codecs:
        if isinstance(codec, Scalar):
            fixed.append(codec)
            continue
        runs += [_fixed_run(fixed), _single(codec)]
        fixed = []
    return [*runs, _fixed_run(fixed)]


def _fixed_run(codecs: Sequence[Scalar]) -> _Run:
    layout = struct.Struct("<" + "".join(codec.layout for codec in codecs))
    size, unpack = layout.size, layout.unpack_from
    decoders = tuple((i, codec.decode) for i, codec in enumerate(codecs) if codec.decode)

    def read(data: bytes, at: int, values: list[object]) -> int:
        raw = list(unpack(data, at))
        for i, decode in decoders:
            raw[i] = decode(raw[i])
        values += raw
        return at + size

    return read


def _single(codec: Codec) -> _Run:
    def read(data: bytes, at: int, values: list[object]) -> int:
        value, at = codec.read(data, at)
        values.append(value)
        return at

    return read


def compile_struct(idl: Idl, name: str, fields: Sequence[Field]) -> StructCodec:
    """Compile the codec of a struct, or of an instruction's arguments.

    Raises ConfigError if a type is not supported.
    """
    return StructCodec(name, [(field.name, _compile(idl, field.type)) for field in fields])


def _compile(idl: Idl, kind: FieldType) -> Codec:
    match kind:
        case Primitive("bool"):
            return Scalar("B", (False, True).__getitem__, _bool)
        case Primitive("pubkey"):
            return Scalar("32s", _address, lambda text: bytes(Pubkey.from_string(text)))
        case Primitive(name):
            return Scalar(_INTEGERS[name], None, _integer)
        case ByteArray(32):
            return Scalar("32s", bytes.hex, lambda text: _exactly(bytes.fromhex(text), 32))
        case ByteArray(length):
            return Scalar(f"{length}s", text_of, lambda text: bytes_of(text, length))
        case OptionOf(inner):
            return Option(_compile(idl, inner))
        case Defined(name):
            return _enum(idl, name)


def _enum(idl: Idl, name: str) -> Scalar:
    definition, members = idl.types.get(name), ENUMS.get(name, ())
    if not isinstance(definition, EnumDef) or [m.name for m in members] != [
        variant.upper() for variant in definition.variants
    ]:
        raise ConfigError(f"The IDL's {name} is not the enum that this backend knows; use the matching IDL.")
    return Scalar("B", members.__getitem__, members.index)


def _bool(value: object) -> int:
    if not isinstance(value, bool):
        raise TypeError("it is not a bool")
    return int(value)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("it is not an integer")
    return value


def _exactly(raw: bytes, length: int) -> bytes:
    if len(raw) != length:
        raise ValueError(f"it has {len(raw)} bytes instead of {length}")
    return raw


@lru_cache(maxsize=16_384)
def _address(raw: bytes) -> str:
    return str(Pubkey(raw))


def text_of(raw: bytes) -> str:
    """Return a byte array as text: printable ASCII as such, an empty text for zeros only, else 0x and hex.

    Any user can put any bytes on chain. A NUL, or a part of a UTF-8 character, must not reach the database.
    """
    if not raw.strip(b"\0"):
        return ""
    text = raw.decode("ascii", "replace")
    return text if raw.isascii() and text.isprintable() else "0x" + raw.hex()


def bytes_of(text: str, length: int) -> bytes:
    """Return the `length` bytes that `text_of` writes as this text.

    Raises ValueError if the text does not fit exactly.
    """
    if not text:
        return bytes(length)
    raw = text.encode("ascii")
    if len(raw) == 2 + 2 * length and text.startswith("0x"):
        raw = bytes.fromhex(text[2:])
    return _exactly(raw, length)
