"""Encode and decode the program's bytes from the IDL file alone, independently of the package zmart."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any  # IDL values are of every type

from solders.pubkey import Pubkey

DATA = Path(__file__).resolve().parents[2] / "src" / "zmart" / "chain" / "data"
IDL = json.loads((DATA / "zmart_core.idl.json").read_text())
TYPES = {item["name"]: item["type"] for item in IDL["types"]}
INSTRUCTIONS = {item["name"]: item for item in IDL["instructions"]}
ERRORS = {item["name"]: item["code"] for item in IDL["errors"]}
NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q"}
Values = dict[str, Any]


def encode_instruction(name: str, **arguments: Any) -> bytes:
    instruction = INSTRUCTIONS[name]
    data = bytes(instruction["discriminator"])
    return data + b"".join(
        encode(argument["type"], arguments[argument["name"]]) for argument in instruction["args"]
    )


def encode_account(name: str, fields: Values, size: int) -> bytes:
    data = _discriminator("accounts", name) + encode({"defined": {"name": name}}, fields)
    return data.ljust(size, b"\0")


def decode_account(name: str, data: bytes) -> Values:
    assert data[:8] == _discriminator("accounts", name)
    return decode({"defined": {"name": name}}, data, 8)[0]


def encode_event(name: str, fields: Values) -> bytes:
    return _discriminator("events", name) + encode({"defined": {"name": name}}, fields)


def decode_event(data: bytes) -> tuple[str, Values]:
    name = next(item["name"] for item in IDL["events"] if bytes(item["discriminator"]) == data[:8])
    fields, end = decode({"defined": {"name": name}}, data, 8)
    assert end == len(data), f"{name} has {len(data) - end} bytes too many"
    return name, fields


def encode(kind: Any, value: Any) -> bytes:
    match kind:
        case "bool":
            return bytes([value])
        case "pubkey":
            return bytes(value)
        case str():
            return struct.pack(NUMBERS[kind], value)
        case {"array": [_, length]}:
            assert len(value) == length
            return bytes(value)
        case {"option": inner}:
            return b"\0" if value is None else b"\1" + encode(inner, value)
        case {"defined": {"name": name}}:
            return _encode_defined(TYPES[name], value)
    raise AssertionError(kind)


def _encode_defined(shape: Any, value: Any) -> bytes:
    if shape["kind"] == "enum":
        return bytes([[variant["name"] for variant in shape["variants"]].index(value)])
    return b"".join(encode(field["type"], value[field["name"]]) for field in shape["fields"])


def decode(kind: Any, data: bytes, at: int) -> tuple[Any, int]:
    match kind:
        case "bool":
            assert data[at] < 2
            return bool(data[at]), at + 1
        case "pubkey":
            return Pubkey.from_bytes(data[at : at + 32]), at + 32
        case str():
            return struct.unpack_from(NUMBERS[kind], data, at)[0], at + struct.calcsize(NUMBERS[kind])
        case {"array": [_, length]}:
            return data[at : at + length], at + length
        case {"option": inner}:
            assert data[at] < 2
            return decode(inner, data, at + 1) if data[at] else (None, at + 1)
        case {"defined": {"name": name}}:
            return _decode_defined(TYPES[name], data, at)
    raise AssertionError(kind)


def _decode_defined(shape: Any, data: bytes, at: int) -> tuple[Any, int]:
    if shape["kind"] == "enum":
        return shape["variants"][data[at]]["name"], at + 1
    fields: Values = {}
    for field in shape["fields"]:
        fields[field["name"]], at = decode(field["type"], data, at)
    return fields, at


def _discriminator(kind: str, name: str) -> bytes:
    return next(bytes(item["discriminator"]) for item in IDL[kind] if item["name"] == name)
