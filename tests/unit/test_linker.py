"""The program's linker handles every kind of relocation and refuses objects that sBPF cannot represent."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "programs" / "zmart_core"
ALLOC_WRITE, ALLOC, ALLOC_EXEC = 3, 2, 6
PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 1, 2, 3, 8, 9
R_LDDW, R_DATA, R_CALL, R_UNKNOWN = 1, 2, 10, 3
EXIT = bytes.fromhex("9500000000000000")
CALL = bytes.fromhex("85100000ffffffff")  # a call as clang writes it: source register 1, addend -1
TEXT_BASE = 1 << 32


def load_linker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zmart_core_linker", PROGRAM / "linker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


linker = load_linker()


@dataclass
class Obj:
    """A relocatable BPF object for tests. Sections are numbered from 1 in the order in which they are added."""

    sections: list[tuple[str, int, int, bytes, int]] = field(default_factory=list)
    symbols: list[tuple[str, int, int]] = field(default_factory=list)
    relocations: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    def section(self, name: str, flags: int, data: bytes, kind: int = PROGBITS, align: int = 8) -> int:
        self.sections.append((name, kind, flags, data, align))
        return len(self.sections)

    def symbol(self, name: str, section: int = 0, value: int = 0) -> int:
        self.symbols.append((name, section, value))
        return len(self.symbols)

    def relocate(self, section: int, offset: int, symbol: int, kind: int) -> None:
        self.relocations.setdefault(section, []).append((offset, symbol, kind))

    def write(self, machine: int = 247) -> bytes:
        names, strings = Strings(), Strings()
        symbols = bytes(24) + b"".join(
            struct.pack("<IBBHQQ", strings.add(name), 0x12, 0, section, value, 0)
            for name, section, value in self.symbols
        )
        table = len(self.sections) + 1
        rows = [
            (names.add(name), kind, flags, data, 0, 0, align)
            for name, kind, flags, data, align in self.sections
        ]
        rows.append((names.add(".symtab"), SYMTAB, 0, symbols, table + 1, 0, 8))
        rows.append((names.add(".strtab"), STRTAB, 0, bytes(strings.text), 0, 0, 1))
        for section, entries in self.relocations.items():
            data = b"".join(
                struct.pack("<QQ", offset, symbol << 32 | kind) for offset, symbol, kind in entries
            )
            rows.append((names.add(".rel"), REL, 0, data, table, section, 8))
        rows.append((names.add(".shstrtab"), STRTAB, 0, bytes(names.text), 0, 0, 1))
        return assemble(rows, machine)


class Strings:
    def __init__(self) -> None:
        self.text = bytearray(1)

    def add(self, name: str) -> int:
        at = len(self.text)
        self.text += name.encode() + b"\0"
        return at


def assemble(rows: list[tuple[int, int, int, bytes, int, int, int]], machine: int) -> bytes:
    body, headers = bytearray(64), bytes(64)
    for name, kind, flags, data, link, info, align in rows:
        headers += struct.pack(
            "<IIQQQQIIQQ", name, kind, flags, 0, len(body), len(data), link, info, align, 0
        )
        body += data if kind != NOBITS else b""
    count = len(rows) + 1
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 1, machine, 1, 0, 0, len(body), 0, 64, 0, 0, 64, count, count - 1,
    )  # fmt: skip
    return bytes(body) + headers


def segments(program: bytes) -> dict[int, bytes]:
    """Return the bytes of each program header, by virtual address."""
    (count,) = struct.unpack_from("<H", program, 56)
    result = {}
    for at in range(64, 64 + 56 * count, 56):
        kind, _, offset, address, _, size, in_memory, _ = struct.unpack_from("<IIQQQQQQ", program, at)
        assert (kind, size) == (1, in_memory)
        result[address] = program[offset : offset + size]
    return result


def entry_of(program: bytes) -> int:
    return int(struct.unpack_from("<Q", program, 24)[0])


def immediate(text: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", text, at + 4)[0])


def lddw(addend: int = 0) -> bytes:
    return struct.pack("<BBHi", 0x18, 1, 0, addend) + bytes(8)


def plain(code: bytes = EXIT) -> tuple[Obj, int]:
    obj = Obj()
    text = obj.section(".text", ALLOC_EXEC, code)
    obj.symbol("entrypoint", text)
    return obj, text


def test_code_lies_at_its_address_and_starts_at_the_entry() -> None:
    obj = Obj()
    text = obj.section(".text", ALLOC_EXEC, EXIT * 3)
    obj.symbol("entrypoint", text, 16)
    program = linker.link(obj.write())
    assert segments(program) == {TEXT_BASE: EXIT * 3}
    assert entry_of(program) == TEXT_BASE + 16
    assert program[:7] == b"\x7fELF\x02\x01\x01"
    assert struct.unpack_from("<HHI", program, 16) == (3, 247, 1)
    assert struct.unpack_from("<I", program, 48) == (3,)  # e_flags: sBPF v3


def test_constants_lie_at_zero_padded_to_whole_words() -> None:
    obj, _ = plain()
    obj.section(".rodata", ALLOC, b"abc", align=1)
    obj.section(".rodata.str1.1", ALLOC, b"de", align=1)
    assert segments(linker.link(obj.write()))[0] == b"abc".ljust(8, b"\0") + b"de".ljust(8, b"\0")


def test_a_call_of_a_syscall_carries_the_hash_of_its_name() -> None:
    obj, text = plain(CALL + EXIT)
    obj.relocate(text, 0, obj.symbol("sol_log_"), R_CALL)
    code = segments(linker.link(obj.write()))[TEXT_BASE]
    assert code[:2] == b"\x85\x00"
    assert struct.unpack_from("<I", code, 4) == (0x207559BD,)


def test_a_call_of_a_function_carries_the_distance() -> None:
    obj, text = plain(EXIT + CALL + EXIT)
    other = obj.section(".text.other", ALLOC_EXEC, EXIT + EXIT)
    obj.relocate(text, 8, obj.symbol("callee", other, 8), R_CALL)
    code = segments(linker.link(obj.write()))[TEXT_BASE]
    assert code[8:10] == b"\x85\x10"
    assert immediate(code, 8) == 2  # from the instruction after instruction 1 to instruction 4


def test_a_call_backwards_through_a_section_symbol_counts_its_addend() -> None:
    obj, text = plain(EXIT + EXIT + struct.pack("<BBHi", 0x85, 0x10, 0, 0) + EXIT)
    obj.relocate(text, 16, obj.symbol(".text", text), R_CALL)  # addend 0 = instruction 1 of the section
    assert immediate(segments(linker.link(obj.write()))[TEXT_BASE], 16) == -2


@pytest.mark.parametrize("addend", [0, 5])
def test_a_64_bit_load_gets_the_address_of_a_constant(addend: int) -> None:
    obj, text = plain(lddw(addend) + EXIT)
    data = obj.section(".rodata", ALLOC, bytes(32))
    obj.relocate(text, 0, obj.symbol("constant", data, 16), R_LDDW)
    code = segments(linker.link(obj.write()))[TEXT_BASE]
    assert (immediate(code, 0), immediate(code, 8)) == (16 + addend, 0)


def test_a_64_bit_load_gets_the_address_of_a_function_in_both_halves() -> None:
    obj, text = plain(lddw() + EXIT)
    obj.relocate(text, 0, obj.symbol("function", text, 16), R_LDDW)
    code = segments(linker.link(obj.write()))[TEXT_BASE]
    assert (immediate(code, 0), immediate(code, 8)) == (16, 1)


def test_a_pointer_in_constants_gets_its_address() -> None:
    obj, text = plain()
    data = obj.section(".rodata", ALLOC, struct.pack("<QQ", 3, 0))
    obj.relocate(data, 0, obj.symbol("constant", data, 8), R_DATA)
    obj.relocate(data, 8, obj.symbol("function", text), R_DATA)
    assert segments(linker.link(obj.write()))[0] == struct.pack("<QQ", 11, TEXT_BASE)


def test_relocations_of_sections_that_are_not_loaded_are_left_alone() -> None:
    obj, _ = plain()
    debug = obj.section(".debug_info", 0, bytes(8))
    obj.relocate(debug, 0, obj.symbol("anything"), R_UNKNOWN)
    assert segments(linker.link(obj.write())) == {TEXT_BASE: EXIT}


@pytest.mark.parametrize(("name", "kind"), [(".data", PROGBITS), (".bss", NOBITS)])
def test_mutable_globals_are_refused(name: str, kind: int) -> None:
    obj, _ = plain()
    obj.section(name, ALLOC_WRITE, bytes(8), kind)
    with pytest.raises(linker.LinkError, match=f"section {name} is writable"):
        linker.link(obj.write())


def test_an_unknown_relocation_is_refused() -> None:
    obj, text = plain()
    obj.relocate(text, 0, obj.symbol("thing", text), R_UNKNOWN)
    with pytest.raises(linker.LinkError, match="relocation kind 3 of 'thing'"):
        linker.link(obj.write())


def test_a_function_that_nobody_defines_is_refused() -> None:
    """A function that the compiler may call by itself, such as memcpy, is neither defined nor a syscall."""
    obj, text = plain(CALL + EXIT)
    obj.relocate(text, 0, obj.symbol("memcpy"), R_CALL)
    with pytest.raises(linker.LinkError, match="'memcpy' is neither defined"):
        linker.link(obj.write())


@pytest.mark.parametrize("kind", [R_LDDW, R_DATA])
def test_the_address_of_something_undefined_is_refused(kind: int) -> None:
    obj, text = plain(lddw() + EXIT)
    obj.relocate(text, 0, obj.symbol("elsewhere"), kind)
    with pytest.raises(linker.LinkError, match="'elsewhere' has no place"):
        linker.link(obj.write())


def test_a_missing_entry_is_refused() -> None:
    obj = Obj()
    text = obj.section(".text", ALLOC_EXEC, EXIT)
    obj.symbol("main", text)
    obj.symbol("entrypoint")
    with pytest.raises(linker.LinkError, match="'entrypoint' is not defined"):
        linker.link(obj.write())
    assert entry_of(linker.link(obj.write(), entry="main")) == TEXT_BASE


@pytest.mark.parametrize(
    "obj", [b"", b"\x7fELF", plain()[0].write(machine=62)], ids=["empty", "cut", "x86-64"]
)
def test_what_is_no_bpf_object_is_refused(obj: bytes) -> None:
    with pytest.raises(linker.LinkError, match="not a little-endian 64-bit BPF object"):
        linker.link(obj)


def test_the_same_object_gives_the_same_program() -> None:
    obj = plain()[0].write()
    assert linker.link(obj) == linker.link(obj)


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("", 0),
        ("a", 0x3C2569B2),
        ("abc", 0xB3DD93FA),
        ("abort", 0xB6FC1A11),
        ("sol_invoke_signed_c", 0xA22B9C85),
    ],
)
def test_murmur3_of_known_texts(text: str, hashed: int) -> None:
    assert linker.murmur3_32(text.encode()) == hashed
