"""Name the exceptions of msgspec's JSON decoder, and describe and bound decoded values of any shape.

The decoder accepts values that are nested almost as deeply as Python's stack allows. Code that walks through such a
value by recursion, as `str`, `repr` and an encoder do, may overflow the stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Every exception of the decoder: malformed JSON or another shape, text that is not UTF-8, too deep nesting."""


def described(value: object, longest: int = 100) -> str:
    """Return a decoded value for a message: at most `longest` characters of its text.

    An array or an object is only named by its kind.
    """
    if isinstance(value, Mapping):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else str(value)[:longest]


def is_shallow(value: object, levels: int) -> bool:
    """Return whether arrays and objects in a value are nested at most `levels` deep; a number or a text has depth 0."""
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
