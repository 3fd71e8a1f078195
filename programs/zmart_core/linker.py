"""Link one relocatable BPF object (clang or zig, `-target bpfel`) into an sBPF v3 program.

An sBPF v3 file (Solana proposals SIMD-0178, 0179 and 0189) is an ELF header, one or two program headers and
their bytes: read-only data at address 0 and code at 1 << 32. Nothing is relocated when the file is loaded. A call
of a syscall holds the murmur3 hash of the syscall's name; a call of a function holds the distance in instructions.
"""

from __future__ import annotations

import struct
import sys
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

TEXT_BASE = 1 << 32
INSTRUCTION = 8
E_MACHINE_BPF = 247
SHT_SYMTAB, SHT_NOBITS, SHT_REL = 2, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
PF_X, PF_R = 1, 4
SRC_SYSCALL, SRC_FUNCTION = 0, 1

SYSCALLS = frozenset(
    {
        "abort",
        "sol_create_program_address",
        "sol_get_clock_sysvar",
        "sol_get_rent_sysvar",
        "sol_invoke_signed_c",
        "sol_log_",
        "sol_log_data",
        "sol_log_pubkey",
        "sol_memcpy_",
        "sol_memset_",
        "sol_try_find_program_address",
    }
)


class LinkError(Exception):
    """The object cannot be linked into a program; the message names the part of the object and the reason."""


class Relocation(IntEnum):
    """The kinds of relocations that the linker knows, with their numbers in ELF (R_BPF_*)."""

    LDDW = 1  # R_BPF_64_64: a 64-bit address in the two halves of an lddw
    DATA = 2  # R_BPF_64_ABS64: a pointer inside read-only data
    CALL = 10  # R_BPF_64_32: a call


class Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class Symbol(NamedTuple):
    name: str
    section: int
    value: int


class Place(NamedTuple):
    """Where a section of the object lies in the program: in the code or in the data, and at which offset in bytes."""

    in_text: bool
    offset: int

    @property
    def address(self) -> int:
        return self.offset + (TEXT_BASE if self.in_text else 0)


class Image(NamedTuple):
    text: bytearray
    rodata: bytearray
    places: dict[int, Place]


def link(obj: bytes, entry: str = "entrypoint") -> bytes:
    """Link the object `obj` into a program that starts at the function `entry`. Equal objects give equal programs.

    Raises LinkError for bytes that are no BPF object, for mutable data, for unknown relocations, for symbols that
    are neither defined in the object nor a known syscall, and for a missing entry function.
    """
    sections = read_sections(obj)
    symbols = read_symbols(obj, sections)
    image = place_sections(obj, sections)
    for section in sections:
        if section.kind == SHT_REL and section.info in image.places:
            relocate_section(obj, section, symbols, image)
    return write_program(image, entry_address(symbols, image, entry))


def read_sections(obj: bytes) -> list[Section]:
    if (
        len(obj) < 64
        or obj[:6] != b"\x7fELF\x02\x01"
        or struct.unpack_from("<H", obj, 18)[0] != E_MACHINE_BPF
    ):
        raise LinkError("not a little-endian 64-bit BPF object")
    (table,) = struct.unpack_from("<Q", obj, 40)
    count, names = struct.unpack_from("<HH", obj, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", obj, table + 64 * i) for i in range(count)]
    names_offset = headers[names][4]
    return [
        Section(_text_at(obj, names_offset + name), kind, flags, offset, size, to, info, align)
        for name, kind, flags, _, offset, size, to, info, align, _ in headers
    ]


def read_symbols(obj: bytes, sections: list[Section]) -> list[Symbol]:
    table = next((section for section in sections if section.kind == SHT_SYMTAB), None)
    if table is None:
        raise LinkError("the object has no symbol table")
    names = sections[table.link].offset
    symbols = []
    for at in range(table.offset, table.offset + table.size, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", obj, at)
        symbols.append(Symbol(_text_at(obj, names + name), section, value))
    return symbols


def place_sections(obj: bytes, sections: list[Section]) -> Image:
    """Join the sections with code, and those with constants, in the object's order. LinkError for mutable data."""
    image = Image(bytearray(), bytearray(), {})
    for index, section in enumerate(sections):
        if not section.flags & SHF_ALLOC or not section.size:
            continue
        if section.kind == SHT_NOBITS or section.flags & SHF_WRITE:
            raise LinkError(f"section {section.name} is writable: an sBPF program has no mutable globals")
        in_text = bool(section.flags & SHF_EXECINSTR)
        part = image.text if in_text else image.rodata
        part += bytes(-len(part) % max(section.align, INSTRUCTION))
        image.places[index] = Place(in_text, len(part))
        part += obj[section.offset : section.offset + section.size]
    image.rodata.extend(bytes(-len(image.rodata) % INSTRUCTION))
    return image


def relocate_section(obj: bytes, relocations: Section, symbols: list[Symbol], image: Image) -> None:
    place = image.places[relocations.info]
    part = image.text if place.in_text else image.rodata
    for at in range(relocations.offset, relocations.offset + relocations.size, 16):
        offset, info = struct.unpack_from("<QQ", obj, at)
        symbol, kind = symbols[info >> 32], info & 0xFFFFFFFF
        target = place.offset + offset
        if kind == Relocation.CALL:
            relocate_call(part, target, symbol, image)
        elif kind == Relocation.LDDW:
            relocate_lddw(part, target, symbol, image)
        elif kind == Relocation.DATA:
            (addend,) = struct.unpack_from("<Q", part, target)
            struct.pack_into("<Q", part, target, address_of(symbol, image) + addend)
        else:
            raise LinkError(f"relocation kind {kind} of {symbol.name!r} is not known here")


def relocate_call(text: bytearray, at: int, symbol: Symbol, image: Image) -> None:
    registers = text[at + 1] & 0x0F
    if symbol.section == 0:
        if symbol.name not in SYSCALLS:
            raise LinkError(f"{symbol.name!r} is neither defined in the object nor a known syscall")
        text[at + 1] = registers | SRC_SYSCALL << 4
        struct.pack_into("<I", text, at + 4, murmur3_32(symbol.name.encode()))
        return
    (addend,) = struct.unpack_from("<i", text, at + 4)  # counted from the instruction after the call
    target = (address_of(symbol, image) - TEXT_BASE) // INSTRUCTION + addend + 1
    text[at + 1] = registers | SRC_FUNCTION << 4
    struct.pack_into("<i", text, at + 4, target - at // INSTRUCTION - 1)


def relocate_lddw(text: bytearray, at: int, symbol: Symbol, image: Image) -> None:
    (low,) = struct.unpack_from("<I", text, at + 4)
    (high,) = struct.unpack_from("<I", text, at + 12)
    address = address_of(symbol, image) + (high << 32 | low)
    struct.pack_into("<I", text, at + 4, address & 0xFFFFFFFF)
    struct.pack_into("<I", text, at + 12, address >> 32)


def address_of(symbol: Symbol, image: Image) -> int:
    if symbol.section not in image.places:
        raise LinkError(f"{symbol.name!r} has no place in the program")
    return image.places[symbol.section].address + symbol.value


def entry_address(symbols: list[Symbol], image: Image, entry: str) -> int:
    for symbol in symbols:
        if symbol.name == entry and symbol.section in image.places and image.places[symbol.section].in_text:
            return address_of(symbol, image)
    raise LinkError(f"the entry function {entry!r} is not defined in the object")


def write_program(image: Image, entry: int) -> bytes:
    """Return the ELF file: the ELF header, one program header for each part, then the bytes of the parts."""
    parts = [(PF_R, 0, bytes(image.rodata))] if image.rodata else []
    parts.append((PF_X, TEXT_BASE, bytes(image.text)))
    identity = b"\x7fELF\x02\x01\x01"
    header = (identity, 3, E_MACHINE_BPF, 1, entry, 64, 0, 3, 64, 56, len(parts), 64, 0, 0)
    out = bytearray(struct.pack("<16sHHIQQQIHHHHHH", *header))
    offset = 64 + 56 * len(parts)
    for flags, address, data in parts:
        out += struct.pack("<IIQQQQQQ", 1, flags, offset, address, address, len(data), len(data), 8)
        offset += len(data)
    return bytes(out) + b"".join(data for _, _, data in parts)


def murmur3_32(data: bytes) -> int:
    """Return the MurmurHash3 (x86, 32 bits, seed 0) of `data`: the runtime finds a syscall by this hash of its name."""
    hashed = 0
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        hashed = _rotate(hashed ^ _mix(int.from_bytes(data[at : at + 4], "little")), 13)
        hashed = (hashed * 5 + 0xE6546B64) & 0xFFFFFFFF
    if data[whole:]:
        hashed ^= _mix(int.from_bytes(data[whole:], "little"))
    hashed ^= len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return hashed ^ hashed >> 16


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & 0xFFFFFFFF


def _mix(word: int) -> int:
    return _rotate(word * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF


def _text_at(obj: bytes, offset: int) -> str:
    return obj[offset : obj.index(b"\0", offset)].decode()


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(link(Path(sys.argv[1]).read_bytes()))
