"""Write the amounts of encoded messages as text, for clients whose numbers lose digits beyond 2^53."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import getmembers, isclass
from typing import get_args, get_type_hints

import msgspec

from zmart.feed import shapes


def with_text_amounts(json: bytes) -> bytes:
    """Return encoded JSON, a message or a part of a message, with all lamports and shares as decimal text."""
    return _AMOUNT.sub(rb'\1"\2"', json)


def amount_names() -> frozenset[str]:
    """Return the JSON names of all message fields that hold lamports or shares."""
    kinds = [kind for _, kind in getmembers(shapes, isclass) if issubclass(kind, msgspec.Struct)]
    return frozenset(name for kind in kinds for name in _amounts_of(kind))


def _amounts_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for name, encoded_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        if hints[name] is shapes.Units or shapes.Units in get_args(hints[name]):
            yield encoded_name


# A quotation mark inside a JSON string is escaped, so this matches fields and never a user's text.
_AMOUNT = re.compile(rb'("(?:%b)":)(-?[0-9]+)(?=[,}])' % "|".join(sorted(amount_names())).encode())
