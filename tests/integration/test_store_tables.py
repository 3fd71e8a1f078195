"""Tests that declared columns equal the database's catalog, and that every form of a row holds the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from types import NoneType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from kit import rows
from zmart.market.columns import MarketColumns, TradeColumns
from zmart.market.fold_state import FoldedTrade, FoldedVote, MarketFold, PositionFold
from zmart.market.identifiers import MarketRef
from zmart.market.types import ChainTime, MarketState, Side, VoteKind
from zmart.store import change_feed, markets, positions, projections, trades
from zmart.store.pool import Pool
from zmart.store.projections import CONFIG, PROJECTIONS
from zmart.store.tables import Table

_CATALOG = """
SELECT column_name, data_type, is_nullable = 'YES' AS nullable FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1
"""
_KEY = """
SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attnum = k.attnum
WHERE i.indrelid = to_regclass($1) AND a.attrelid = i.indrelid AND i.indisprimary ORDER BY k.place
"""
HELD_AS = {
    "text": {"text"},
    "boolean": {"boolean"},
    "time": {"timestamp with time zone"},
    "bigint": {"bigint", "integer"},
    "numeric": {"numeric", "bigint"},
}
"""The types of the catalog to which an array of `Column.array_type` may be written."""
AT = 1_770_000_000
TEXTS: dict[str, Any] = {
    "market_id": "ab" * 32, "address": "A" * 44, "creator": "C" * 44, "wallet": "W" * 44, "resolver": "R" * 44,
    "dispute_initiator": "D" * 44, "signature": "S" * 88, "state": MarketState.FINALIZED, "side": Side.SELL,
    "kind": VoteKind.DISPUTE,
}  # fmt: skip


@pytest.mark.parametrize("table", [*PROJECTIONS, CONFIG], ids=lambda table: table.name)
async def test_a_declaration_has_the_columns_types_and_key_of_the_catalog(pool: Pool, table: Table) -> None:
    catalog = {row["column_name"]: row for row in await pool.fetch(_CATALOG, table.name)}
    names = [column.name for column in table.columns]
    assert sorted(names) == sorted(catalog.keys() - ({"id"} if table is CONFIG else set()))
    hints = get_type_hints(table.declaration)
    for field, column in zip(table.declaration.__struct_fields__, table.columns, strict=True):
        assert catalog[column.name]["data_type"] in HELD_AS[column.array_type], column.name
        assert catalog[column.name]["nullable"] == (NoneType in get_args(hints[field])), column.name
    assert [row["attname"] for row in await pool.fetch(_KEY, table.name)] == list(table.key)


def filled(form: type[msgspec.Struct], declaration: type[msgspec.Struct]) -> Any:
    """Return a row in which every column holds a value that is not its default."""
    hints = get_type_hints(declaration)
    values: dict[str, Any] = {}
    for number, field in enumerate(declaration.__struct_fields__, 1):
        if field.endswith("_at"):
            values[field] = ChainTime(AT + number)
        elif field in TEXTS:
            values[field] = TEXTS[field]
        elif "outcome" in field or hints[field] is bool:
            values[field] = True
        else:
            values[field] = f"Qm{number}" if str in get_args(hints[field]) else number
    return form(**values)


def same(folded: msgspec.Struct, read: msgspec.Struct) -> None:
    """Assert that both hold the same value in every column.

    Readers hold names for enums, and datetimes for chain time.
    """
    for field in folded.__struct_fields__:
        value, seen = getattr(folded, field), getattr(read, field)
        if isinstance(value, MarketState | Side):
            value = value.name if isinstance(value, MarketState) else value.value
        if isinstance(seen, datetime):
            value = datetime.fromtimestamp(value, UTC)
        assert seen == value, field


async def test_every_column_of_a_market_is_what_the_fold_computed(pool: Pool) -> None:
    market = filled(MarketFold, MarketColumns)
    await rows.add_markets(pool, [market])
    async with pool.acquire() as connection:
        assert await projections.read_every_market(connection) == [market]
    read = await markets.one(pool, MarketRef(id=market.market_id))
    assert read is not None
    same(market, read)
    [change] = await change_feed.read_after(pool, 0, 10)
    published = msgspec.json.decode(change.new_row or "", type=MarketColumns[str, str, datetime])
    same(msgspec.structs.replace(market, proposed_outcome="yes", final_outcome="yes"), published)


async def test_every_column_of_a_position_is_what_the_fold_computed(pool: Pool) -> None:
    position = filled(PositionFold, PositionFold)
    await rows.add_position(pool, position)
    async with pool.acquire() as connection:
        read_again = await projections.read_all_positions(connection, [position.market_id])
    assert read_again == {position.market_id: {position.wallet: position}}
    read = await positions.one(pool, position.market_id, position.wallet)
    assert read is not None
    same(position, read)


async def test_every_column_of_a_trade_is_what_the_fold_computed(pool: Pool) -> None:
    trade = filled(FoldedTrade, TradeColumns)
    await rows.add_trades(pool, [trade])
    [read] = await trades.of_market(pool, trade.market_id, 10)
    same(trade, read)
    [change] = await change_feed.read_after(pool, 0, 10)
    published = msgspec.json.decode(change.new_row or "", type=TradeColumns[str, str, datetime])
    same(msgspec.structs.replace(trade, outcome="yes"), published)


async def test_every_column_of_a_vote_on_chain_is_what_the_fold_computed(pool: Pool) -> None:
    vote = filled(FoldedVote, FoldedVote)
    await rows.add_onchain_vote(pool, vote)
    async with pool.acquire() as connection:
        assert await projections.read_every_vote(connection) == [vote]
