"""Encode and parse canonical JSON: a value has one sequence of bytes, on every machine and in every language.

The rule (RFC 8785 without its floating point numbers): UTF-8; no white space; object keys are ASCII strings in
ascending order; integers in decimal, exact at any size; true, false, null. Strings escape `"`, `\\`, \\b \\t \\n \\f
\\r, and other control characters as \\u00xx (lower-case hex); nothing else is escaped. No floats, no other types.
Python produces these bytes by `json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from zmart.errors import Invalid

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

_DEPTH_MAX = 32


def canonical_json(value: Json) -> bytes:
    """Return the canonical bytes of `value`.

    Raises Invalid for floats and other types, for keys that are not ASCII text, for text that UTF-8 cannot encode, and
    for more than 32 levels of nesting.
    """
    _check(value, _DEPTH_MAX)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid("json", "A string holds half of a surrogate pair, which UTF-8 cannot carry.") from None


def parse_canonical(data: bytes) -> Json:
    """Return the value that canonical bytes encode. Raises Invalid if they are not JSON or not in canonical form."""
    try:
        value: Json = json.loads(data, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Invalid("json", "These bytes are not JSON with integers only.") from None
    if canonical_json(value) != data:
        raise Invalid("json", "These bytes are JSON, but not in canonical form.")
    return value


def _refuse(number: str) -> Json:
    raise ValueError(f"{number} is not an integer")


def _check(value: Json, depth: int) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if depth == 0:
        raise Invalid("json", f"The value is nested deeper than {_DEPTH_MAX} levels.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise Invalid("json", "Keys are ASCII strings.")
            _check(inner, depth - 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, depth - 1)
    else:
        raise Invalid(
            "json", f"A {type(value).__name__} has no canonical form: integers, text, lists, objects."
        )
