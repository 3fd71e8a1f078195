"""Name every exception of msgspec's JSON decoder, for each place that decodes what others send; describe and bound
values of any shape that it returned.

Its decoder takes values that are nested almost as deeply as Python's stack allows: what walks through one of them by
recursion, as `str`, `repr` and an encoder do, may overflow the stack a little deeper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Malformed JSON or another shape, text that is not UTF-8, arrays and objects that are nested too deeply."""


def described(value: object, longest: int = 100) -> str:
    """Return a decoded value for a message: text of at most `longest` characters, of arrays and objects their kind."""
    if isinstance(value, Mapping):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else str(value)[:longest]


def is_shallow(value: object, levels: int) -> bool:
    """Return whether arrays and objects are nested at most `levels` deep."""
    inside = [value]
    for _ in range(levels + 1):
        inside = [item for each in inside for item in _items(each)]
        if not inside:
            return True
    return False


def _items(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values()) or [None]
    return (list(value) or [None]) if isinstance(value, list | tuple) else []
