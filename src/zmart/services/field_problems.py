"""Describe which fields of a request body are missing or wrong, in the terms of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec

from zmart.client.shapes.system import FieldProblem
from zmart.errors import Invalid
from zmart.market.json_input import JSON_ERRORS
from zmart.services.request_body import RequestBody, rules_of

_PATH = re.compile(r" - at `\$(.*)`$")
_KIND = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `([^`]+)` (of length )?(>=|<=|>|<) (-?\d+)")
_OF_JSON = {"int": "an integer", "float": "a number", "str": "a string", "bool": "a boolean", "array": "an array",
            "object": "an object", "uuid": "a UUID", "null": "null"}  # fmt: skip
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}


def of_body(kind: type[msgspec.Struct], body: bytes) -> Iterator[FieldProblem]:
    """Yield one problem for each field of a body that is missing or wrong; nothing if the body is not JSON.

    `kind` is the struct as which the body is decoded.
    """
    try:
        value = msgspec.json.decode(body or b"{}")
    except JSON_ERRORS:
        return
    if not isinstance(value, dict):
        yield FieldProblem(field="body", message=f"body must be an object, not {_kind_of(value)}.")
        return
    if kind.__struct_config__.forbid_unknown_fields:
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        for name in sorted(value.keys() - known):
            yield FieldProblem(field=name[:40], message=f"{name[:40]} is not a field of this body.")
    rules = rules_of(kind) if issubclass(kind, RequestBody) else {}
    given = set()
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name not in value:
            if field.required:
                yield FieldProblem(field=name, message=f"{name} is missing.")
            continue
        try:
            converted = msgspec.convert(value[name], field.type, strict=False, str_keys=True)
            if converted is not None:
                given.add(name)
                if name in rules:
                    rules[name](name, converted)
        except msgspec.ValidationError as problem:
            given.add(name)
            yield field_problem(name, str(problem), field.type, value[name])
        except Invalid as problem:
            yield FieldProblem(field=problem.field, message=str(problem))
    if issubclass(kind, RequestBody):
        for lack in kind.missing(given):
            yield FieldProblem(field=lack.field, message=str(lack))


def field_problem(name: str, message: str, annotation: object, value: object = msgspec.UNSET) -> FieldProblem:
    """Return the problem of the field `name`, with msgspec's `message` translated to the terms of JSON."""
    inside = ""
    if (path := _PATH.search(message)) is not None:
        inside, message, value = path[1], message[: path.start()], msgspec.UNSET
    at = name + inside
    if message.startswith("Invalid enum value") and (allowed := _allowed(annotation)):
        message = f"{at} is one of {', '.join(allowed)}."
    elif kinds := _KIND.fullmatch(message):
        expected = " or ".join(_of_json(kinds[1]))
        given = " or ".join(_of_json(kinds[2])) if value is msgspec.UNSET else _kind_of(value)
        hint = ": write bytes as base58, base64 or hex" if given.endswith(" numbers") else ""
        message = f"{at} must be {expected}, not {given}{hint}."
    elif bound := _BOUND.fullmatch(message):
        unit = " characters" if bound[2] and bound[1] == "str" else " entries" if bound[2] else ""
        message = f"{at} must be {' or '.join(_of_json(bound[1]))} {_BOUNDS[bound[3]]} {bound[4]}{unit}."
    elif message == "Invalid UUID":
        message = f"{at} must be a UUID."
    else:
        message = f"{at} is wrong: {message}."
    return FieldProblem(field=name, message=message)


def _of_json(kinds: str) -> list[str]:
    return [_OF_JSON.get(kind, kind) for kind in kinds.split(" | ")]


def _kind_of(value: object) -> str:
    """Name the kind of a JSON value; for an array that may be meant as bytes, include its length."""
    if isinstance(value, list):
        is_bytes = bool(value) and all(type(item) is int and 0 <= item < 256 for item in value)
        return f"an array of {len(value)} numbers" if is_bytes else "an array"
    kinds = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", dict: "object"}
    kind = kinds.get(type(value), "object")
    return _OF_JSON[kind]


def _allowed(hint: Any) -> list[str]:  # noqa: ANN401  # an annotation
    """Return the values that the enum or the literals in an annotation allow."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint) if value]
    return [value for part in get_args(hint) for value in _allowed(part)]
