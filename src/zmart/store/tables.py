"""Derive the columns and the statements of a table from the struct that declares it (market/columns.py).

Each field is a column of the same name, and the field's type determines how values are sent. Columns that differ from
this are given where the table is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import NoneType
from typing import Any, get_args, get_type_hints

import msgspec

from zmart.market.columns import (
    MarketColumns,
    OutcomeT,
    PositionColumns,
    SideT,
    StateT,
    TimeT,
    TradeColumns,
    VoteColumns,
)
from zmart.market.fold_state import MarketFold
from zmart.market.types import (
    Address,
    Bps,
    Lamports,
    MarketId,
    MarketState,
    PriceE9,
    Shares,
    Side,
    Signature,
    Slot,
    VoteKind,
    Wallet,
)
from zmart.store.bulk import Column, enum_name, enum_value
from zmart.store.outcomes import (
    choice_of,
    choice_word,
    final_word,
    outcome_as_boolean,
    outcome_of,
    outcome_word,
)
from zmart.store.pool import Record

_TEXT = Column("", "text")
_INTEGER = Column("", "bigint")
_AMOUNT = Column("", "numeric")  # a u64 may be larger than any bigint
_BY_TYPE: Mapping[object, Column] = {
    **dict.fromkeys((str, MarketId, Address, Wallet, Signature), _TEXT),
    **dict.fromkeys((int, Bps, Slot, PriceE9), _INTEGER),
    **dict.fromkeys((Lamports, Shares), _AMOUNT),
    bool: Column("", "boolean"),
    TimeT: Column("", "time"),
    StateT: Column("", "text", enum_name, decode=MarketState.__getitem__),
    SideT: Column("", "text", enum_value, decode=Side),
    VoteKind: Column("", "text", enum_value, decode=VoteKind),
    OutcomeT: Column("", "text", outcome_word, decode=outcome_of),
}


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the database. `declaration` has a field for each of its `columns`, in their order; `key` names the
    columns of its primary key. `outcomes` names the columns that hold an outcome. `decoders` are (field, column,
    function), one for each field whose value differs from the database's: the function converts what was read."""

    name: str
    declaration: type[msgspec.Struct]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    outcomes: frozenset[str]
    decoders: tuple[tuple[str, str, Callable[[Any], object]], ...]

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """Return the columns of the primary key, in its order."""
        return tuple(column for name in self.key for column in self.columns if column.name == name)

    def row_list(self, alias: str) -> str:
        """Return the SELECT list of all columns for readers, under the table alias `alias`. Outcomes are selected as
        booleans, every other column unchanged, so that times are datetimes."""
        return ", ".join(
            f"{outcome_as_boolean(f'{alias}.{column.name}')} AS {column.name}"
            if column.name in self.outcomes
            else f"{alias}.{column.name}"
            for column in self.columns
        )

    def decoded(self, row: Record) -> dict[str, Any]:
        """Return a row that was read with `bulk.select` as field values of the fold's struct, such as MarketFold."""
        values: dict[str, Any] = dict(row)
        for field, column, decode in self.decoders:
            values[field] = decode(values.pop(column))
        return values


def declared(name: str, declaration: type[msgspec.Struct], key: tuple[str, ...], **special: Column) -> Table:
    """Return the table `name` with the columns that the fields of `declaration` describe. `special` gives, by name of
    the field, the columns that the field's type does not describe."""
    types = {field: _type_of(hint) for field, hint in get_type_hints(declaration).items()}
    columns = tuple(
        special.get(field) or msgspec.structs.replace(_BY_TYPE[types[field]], name=field)
        for field in declaration.__struct_fields__
    )
    return Table(
        name=name,
        declaration=declaration,
        key=key,
        columns=columns,
        outcomes=frozenset(field for field, hint in types.items() if hint is OutcomeT),
        decoders=tuple(
            (field, column.name, column.decode)
            for field, column in zip(declaration.__struct_fields__, columns, strict=True)
            if column.decode is not None
        ),
    )


def _type_of(hint: object) -> object:
    """Return the type of a field's annotation without `| None`."""
    [kind] = [part for part in get_args(hint) or (hint,) if part is not NoneType]
    return kind


def _final_word(market: MarketFold) -> str | None:
    return final_word(market.state is MarketState.FINALIZED, market.final_outcome)


MARKETS = declared(
    "markets",
    MarketColumns,
    ("market_id",),
    final_outcome=Column("final_outcome", "text", read=_final_word, decode=outcome_of),
)
POSITIONS = declared("positions", PositionColumns, ("market_id", "wallet"))
TRADES = declared("trades", TradeColumns, ("slot", "signature", "ordinal"))
ONCHAIN_VOTES = declared(
    "onchain_votes",
    VoteColumns,
    ("market_id", "kind", "wallet"),
    vote=Column("choice", "text", choice_word, attrgetter("vote"), choice_of),
)
