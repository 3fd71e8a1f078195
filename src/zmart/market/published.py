"""Copy the fields that a row and a published shape have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, get_args, get_type_hints

import msgspec

from zmart.market.columns import TimeT
from zmart.market.times import iso


class _SharedFields(msgspec.Struct, frozen=True):
    """Hold the names that a row and a shape share, and a getter of their values.

    `times` are those of the names that the row holds as datetimes.
    """

    names: tuple[str, ...]
    values: Callable[[msgspec.Struct], tuple[Any, ...]]
    times: tuple[str, ...]


def same_named(row: msgspec.Struct, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of `shape` that `row` has too, with times as ISO text.

    The two must share at least two fields. Only the shape's fields are copied, so a new column of a table is not
    published until a shape names it.
    """
    shared = _shared(type(row), shape)
    fields = dict(zip(shared.names, shared.values(row), strict=False))
    for name in shared.times:
        if (moment := fields[name]) is not None:
            fields[name] = iso(moment)
    return fields


@cache
def _shared(row: type[msgspec.Struct], shape: type[msgspec.Struct]) -> _SharedFields:
    kinds = {name: set(get_args(hint) or (hint,)) for name, hint in get_type_hints(row).items()}
    names = tuple(name for name in shape.__struct_fields__ if name in row.__struct_fields__)
    times = tuple(name for name in names if kinds[name] & {datetime, TimeT})
    return _SharedFields(names, attrgetter(*names), times)
