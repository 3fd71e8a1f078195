"""Map a msgspec struct of this backend to a struct of the IDL.

The fields are compared once, when the mapping is built.
"""

from __future__ import annotations

from typing import Generic, TypeVar, get_args

import msgspec

from zmart.chain.borsh import ENUMS, compile_struct
from zmart.chain.idl import ByteArray, Defined, Field, FieldType, Idl, OptionOf, Primitive
from zmart.errors import ConfigError
from zmart.market import types as market_types

Mirrored = TypeVar("Mirrored", bound=msgspec.Struct, covariant=True)


def idl_name(cls: type[msgspec.Struct]) -> str:
    """Return the name under which the IDL describes `cls`: `cls.IDL_NAME` if set, else the name of the class."""
    return str(getattr(cls, "IDL_NAME", cls.__name__))


class Mirror(Generic[Mirrored]):
    """Decode and encode `cls` with the layout that the IDL gives `idl_name(cls)`.

    The constructor raises ConfigError if the IDL lacks the struct, or if a field is missing, new, or of another type
    than in the IDL. Fields of `cls` with a default are not on chain and are ignored.
    """

    def __init__(self, idl: Idl, cls: type[Mirrored]) -> None:
        definition = idl.struct(idl_name(cls))
        _check(cls, definition.fields)
        self.cls = cls
        self._codec = compile_struct(idl, idl_name(cls), definition.fields)
        self._names = tuple(field.name for field in definition.fields)

    def read(self, data: bytes, at: int) -> tuple[Mirrored, int]:
        """Decode a value at the offset `at`; return it and the offset after it. Raises DecodeError."""
        values, end = self._codec.read(data, at)
        return self.cls(**values), end

    def write(self, value: msgspec.Struct) -> bytes:
        """Return the value's bytes in Borsh. Raises Invalid, which names a field that does not fit."""
        return self._codec.write({name: getattr(value, name) for name in self._names})


def _check(cls: type[msgspec.Struct], on_chain: tuple[Field, ...]) -> None:
    ours = {field.name: field.type for field in msgspec.structs.fields(cls) if field.required}
    theirs = {field.name: field.type for field in on_chain}
    differing = sorted(
        ours.keys() ^ theirs.keys()
        | {name for name in ours.keys() & theirs.keys() if not _alike(ours[name], theirs[name])}
    )
    if differing:
        raise ConfigError(
            f"The IDL's {idl_name(cls)} is not the one this backend knows: {', '.join(differing)} differ; "
            "set SOLANA_IDL_PATH to the IDL of the deployed program, or leave it unset."
        )


def _plain(kind: object) -> object:
    """Return the plain type under a NewType, e.g. int for Lamports."""
    below = getattr(kind, "__supertype__", kind)
    return getattr(below, "__origin__", below)


def _alike(ours: object, theirs: FieldType) -> bool:
    match theirs:
        case OptionOf(inner):
            return type(None) in get_args(ours) and _alike(get_args(ours)[0], inner)
        case Primitive("bool"):
            return ours is bool
        case Primitive("pubkey"):
            return ours in (market_types.Address, market_types.Wallet)
        case Primitive():
            return _plain(ours) is int
        case ByteArray(32):
            return ours is market_types.MarketId
        case ByteArray():
            return ours is str
        case Defined(name):
            return ours is type(ENUMS[name][0]) if name in ENUMS else False
