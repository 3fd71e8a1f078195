"""Load the program's interface from its IDL (Anchor spec 0.1.0, as Anchor 0.30 and newer write it).

The IDL is the only source of discriminators, account lists, argument types and error codes. These differ between
deployed builds of the program, so the code repeats none of them as a constant.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

import msgspec

from zmart.bounded_files import read_at_most
from zmart.errors import ConfigError, SettingError
from zmart.market.json_input import JSON_ERRORS

PRIMITIVES = frozenset({"bool", "u8", "u16", "u32", "u64", "i64", "pubkey"})
"""Names of the IDL's primitive types that this backend can read."""


class Primitive(msgspec.Struct, frozen=True):
    """Describe a primitive type by its name, e.g. u64 or pubkey."""

    name: str


class ByteArray(msgspec.Struct, frozen=True):
    """Describe an array of bytes, `[u8; length]`."""

    length: int


class OptionOf(msgspec.Struct, frozen=True):
    """Describe an optional value of the type `inner`."""

    inner: FieldType


class Defined(msgspec.Struct, frozen=True):
    """Refer by name to a struct or an enum in the IDL's list of types."""

    name: str


FieldType = Primitive | ByteArray | OptionOf | Defined


class Field(msgspec.Struct, frozen=True):
    """Describe a field of a struct, or an argument of an instruction, by its name and type."""

    name: str
    type: FieldType


class StructDef(msgspec.Struct, frozen=True):
    """Describe a struct of the IDL: its name and its fields in order."""

    name: str
    fields: tuple[Field, ...]


class EnumDef(msgspec.Struct, frozen=True):
    """Describe an enum whose variants carry no values. It is encoded as one byte, the index of the variant."""

    name: str
    variants: tuple[str, ...]


class AccountItem(msgspec.Struct, frozen=True):
    """Describe one account of an instruction.

    `address` is set if the IDL fixes it, as for the System program.
    """

    name: str
    writable: bool = False
    signer: bool = False
    address: str | None = None


class InstructionDef(msgspec.Struct, frozen=True):
    """Describe an instruction: its discriminator, accounts in order, and arguments."""

    name: str
    discriminator: bytes
    accounts: tuple[AccountItem, ...]
    args: tuple[Field, ...]


class ErrorDef(msgspec.Struct, frozen=True):
    """Describe an error of the program: its code, name and message."""

    code: int
    name: str
    msg: str = ""


class Idl(msgspec.Struct, frozen=True):
    """Hold the interface of one program.

    Instructions, accounts, events and types are found by name, errors by code. The values of `accounts` and `events`
    are discriminators of 8 bytes each.
    """

    address: str
    instructions: dict[str, InstructionDef]
    accounts: dict[str, bytes]
    events: dict[str, bytes]
    errors: dict[int, ErrorDef]
    types: dict[str, StructDef | EnumDef]

    def struct(self, name: str) -> StructDef:
        """Return the definition of the struct `name`. Raises ConfigError if the IDL has none of that name."""
        definition = self.types.get(name)
        if not isinstance(definition, StructDef):
            raise ConfigError(
                f"The IDL does not describe the struct {name}; use the IDL of the deployed program."
            )
        return definition


class _Named(msgspec.Struct):
    name: str
    discriminator: list[int]


class _Arg(msgspec.Struct):
    name: str
    type: object


class _Variant(msgspec.Struct):
    name: str
    fields: list[object] = []


class _Shape(msgspec.Struct):
    kind: str
    fields: list[_Arg] = []
    variants: list[_Variant] = []


class _Type(msgspec.Struct):
    name: str
    type: _Shape


class _Instruction(msgspec.Struct):
    name: str
    discriminator: list[int]
    accounts: list[AccountItem]
    args: list[_Arg]


class _IdlDocument(msgspec.Struct):
    address: str
    instructions: list[_Instruction]
    accounts: list[_Named] = []
    events: list[_Named] = []
    errors: list[ErrorDef] = []
    types: list[_Type] = []


_MAX_FILE_BYTES = 4_000_000


@lru_cache(maxsize=8)
def load_idl(path: Path | None = None) -> Idl:
    """Load the IDL at `path`, or without a path the one in this package.

    Raises SettingError if the file cannot be read or is not an IDL, and ConfigError if one of its types or
    discriminators is not supported.
    """
    try:
        raw = read_at_most(path, _MAX_FILE_BYTES) if path else _packaged()
        return _assemble(msgspec.json.decode(raw, type=_IdlDocument))
    except (*JSON_ERRORS, OSError) as error:
        raise SettingError(
            f"The IDL {path or 'of this package'} cannot be read ({error}); SOLANA_IDL_PATH must name "
            "an IDL made by Anchor 0.30 or newer."
        ) from error


def _packaged() -> bytes:
    return resources.files("zmart.chain.data").joinpath("zmart_core.idl.json").read_bytes()


def _assemble(document: _IdlDocument) -> Idl:
    return Idl(
        address=document.address,
        instructions={
            i.name: InstructionDef(i.name, _disc(i), tuple(i.accounts), _fields(i.args))
            for i in document.instructions
        },
        accounts={a.name: _disc(a) for a in document.accounts},
        events={e.name: _disc(e) for e in document.events},
        errors={e.code: e for e in document.errors},
        types={t.name: _definition(t) for t in document.types},
    )


def _disc(item: _Named | _Instruction) -> bytes:
    if len(item.discriminator) != 8 or not all(0 <= byte <= 255 for byte in item.discriminator):
        raise ConfigError(f"The IDL gives {item.name} a discriminator that is not 8 bytes.")
    return bytes(item.discriminator)


def _fields(args: list[_Arg]) -> tuple[Field, ...]:
    return tuple(Field(arg.name, _field_type(arg.type)) for arg in args)


def _definition(item: _Type) -> StructDef | EnumDef:
    shape = item.type
    if shape.kind == "struct":
        return StructDef(item.name, _fields(shape.fields))
    if shape.kind == "enum" and not any(variant.fields for variant in shape.variants):
        return EnumDef(item.name, tuple(variant.name for variant in shape.variants))
    raise ConfigError(f"The IDL's type {item.name} is neither a struct nor an enum without payloads.")


def _field_type(raw: object) -> FieldType:
    match raw:
        case str() if raw in PRIMITIVES:
            return Primitive(raw)
        case {"option": inner}:
            return OptionOf(_field_type(inner))
        case {"array": ["u8", int(length)]}:
            return ByteArray(length)
        case {"defined": {"name": str(name)}}:
            return Defined(name)
    raise ConfigError(f"The IDL uses the type {raw!r}, which this backend cannot read.")
