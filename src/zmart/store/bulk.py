"""Many rows in one statement: `INSERT ... SELECT FROM unnest(...)`, built once from a list of columns.

An array travels as PostgreSQL's own text of it: the driver looks at every element of a list twice, and takes
longer for that than the server for reading the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec

_TEXTS = frozenset({"text", "jsonb"})
_NULL = "NULL"


def _same(value: object) -> object:
    return value


def enum_value(value: object) -> object:
    assert isinstance(value, Enum)
    return value.value


def enum_name(value: object) -> object:
    assert isinstance(value, Enum)
    return value.name


class Column(msgspec.Struct, frozen=True):
    """A column and how its values are sent.

    `array_type`: the element type of the array; `time` sends Unix seconds for a timestamptz. `read` returns the value
    from a row, by default the attribute of the column's name; `encode` converts it; `decode` converts it back when it
    is read.
    """

    name: str
    array_type: str
    encode: Callable[[object], object] = _same
    read: Callable[[Any], object] | None = None
    decode: Callable[[Any], object] | None = None

    @property
    def parameter_type(self) -> str:
        return "bigint" if self.array_type == "time" else self.array_type

    @property
    def expression(self) -> str:
        return f"to_timestamp(r.{self.name})" if self.array_type == "time" else f"r.{self.name}"

    @property
    def read_expression(self) -> str:
        if self.array_type == "time":
            return f"extract(epoch FROM {self.name})::bigint AS {self.name}"
        return self.name


def arrays(columns: Sequence[Column], rows: Sequence[object]) -> list[str]:
    """One array per column, as text."""
    result: list[str] = []
    for column in columns:
        values = list(map(column.read or attrgetter(column.name), rows))
        if column.encode is not _same:
            values = list(map(column.encode, values))
        result.append(array(column.array_type, values))
    return result


def array(array_type: str, values: Sequence[object]) -> str:
    """The text of an array; `array_type` is the type of its elements."""
    if array_type in _TEXTS:
        return "{" + ",".join([_NULL if v is None else _quoted(str(v)) for v in values]) + "}"
    return "{" + ",".join([_NULL if v is None else str(v) for v in values]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def unnest(columns: Sequence[Column], first: int = 1) -> str:
    """`unnest($1::text::bigint[], ...) AS r (a, ...)`: each parameter is a text of `array`."""
    parameters = ", ".join(f"${n}::text::{c.parameter_type}[]" for n, c in enumerate(columns, first))
    return f"unnest({parameters}) AS r ({', '.join(c.name for c in columns)})"


def insert(table: str, columns: Sequence[Column]) -> str:
    names = ", ".join(c.name for c in columns)
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(c.expression for c in columns)} FROM {unnest(columns)}"


def upsert(table: str, columns: Sequence[Column], key: Sequence[str]) -> str:
    """Rows that are there already and equal are not written again, so they are no change to publish."""
    values = [c.name for c in columns if c.name not in key]
    assignments = ", ".join(f"{name} = excluded.{name}" for name in values)
    before = ", ".join(f"{table}.{name}" for name in values)
    after = ", ".join(f"excluded.{name}" for name in values)
    return (
        f"{insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assignments} "
        f"WHERE ({before}) IS DISTINCT FROM ({after})"
    )


def select(table: str, columns: Sequence[Column]) -> str:
    return f"SELECT {', '.join(c.read_expression for c in columns)} FROM {table}"
