"""Build statements that write many rows, `INSERT ... SELECT FROM unnest(...)`, from a list of columns.

Arrays are sent in PostgreSQL's text form. The driver would visit every element of a list twice, which takes longer than
the server needs to parse the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec

_QUOTED_TYPES = frozenset({"text", "jsonb"})
_NULL = "NULL"


def _same(value: object) -> object:
    return value


def enum_value(value: object) -> object:
    """Return the value of an enum member."""
    assert isinstance(value, Enum)
    return value.value


def enum_name(value: object) -> object:
    """Return the name of an enum member."""
    assert isinstance(value, Enum)
    return value.name


class Column(msgspec.Struct, frozen=True):
    """A column, and how its values are sent to PostgreSQL.

    `array_type`: the SQL type of the array's elements, or `time`, which sends Unix seconds for a timestamptz. `read`
    returns the value from a row object; the default reads the attribute of the column's name. `encode` converts the
    value before it is written; `decode` converts a value that was read from the database back.
    """

    name: str
    array_type: str
    encode: Callable[[object], object] = _same
    read: Callable[[Any], object] | None = None
    decode: Callable[[Any], object] | None = None

    @property
    def parameter_type(self) -> str:
        """The SQL type of the elements in the array parameter: bigint for `time`, otherwise `array_type`."""
        return "bigint" if self.array_type == "time" else self.array_type

    @property
    def expression(self) -> str:
        """The SQL expression for the value to insert, read from the unnested row `r`."""
        return f"to_timestamp(r.{self.name})" if self.array_type == "time" else f"r.{self.name}"

    @property
    def read_expression(self) -> str:
        """The SQL that selects the value in the form in which it is sent: Unix seconds for `time`."""
        if self.array_type == "time":
            return f"extract(epoch FROM {self.name})::bigint AS {self.name}"
        return self.name


def arrays(columns: Sequence[Column], rows: Sequence[object]) -> list[str]:
    """Return the values of all rows as one array for each column, in PostgreSQL's text form."""
    result: list[str] = []
    for column in columns:
        values = list(map(column.read or attrgetter(column.name), rows))
        if column.encode is not _same:
            values = list(map(column.encode, values))
        result.append(array(column.array_type, values))
    return result


def array(array_type: str, values: Sequence[object]) -> str:
    """Return an array in PostgreSQL's text form; `array_type` is the type of its elements."""
    elements: Sequence[str] = list(map(str, values))
    if array_type in _QUOTED_TYPES:
        elements = _quoted(elements)
    if None in values:
        elements = [_NULL if value is None else text for value, text in zip(values, elements, strict=True)]
    return "{" + ",".join(elements) + "}"


def _quoted(elements: Sequence[str]) -> list[str]:
    together = "".join(elements)
    if "\\" in together or '"' in together:  # few columns need escapes
        elements = [text.replace("\\", "\\\\").replace('"', '\\"') for text in elements]
    return [f'"{text}"' for text in elements]


def unnest(columns: Sequence[Column], first: int = 1) -> str:
    """Return `unnest($1::text::bigint[], ...) AS r (a, ...)`; each parameter is a result of `array`."""
    parameters = ", ".join(f"${n}::text::{c.parameter_type}[]" for n, c in enumerate(columns, first))
    return f"unnest({parameters}) AS r ({', '.join(c.name for c in columns)})"


def insert(table: str, columns: Sequence[Column]) -> str:
    """Return the statement that inserts rows; its parameters are the results of `arrays`, one for each column."""
    names = ", ".join(c.name for c in columns)
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(c.expression for c in columns)} FROM {unnest(columns)}"


def upsert(table: str, columns: Sequence[Column], key: Sequence[str]) -> str:
    """Return the statement that inserts rows, or updates the rows with the same `key`.

    A stored row that equals the new one is not written, so the change feed publishes no change for it.
    """
    values = [c.name for c in columns if c.name not in key]
    assignments = ", ".join(f"{name} = excluded.{name}" for name in values)
    before = ", ".join(f"{table}.{name}" for name in values)
    after = ", ".join(f"excluded.{name}" for name in values)
    return (
        f"{insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assignments} "
        f"WHERE ({before}) IS DISTINCT FROM ({after})"
    )


def select(table: str, columns: Sequence[Column]) -> str:
    """Return the statement that reads the columns of all rows of a table, in the form in which they are written."""
    return f"SELECT {', '.join(c.read_expression for c in columns)} FROM {table}"
