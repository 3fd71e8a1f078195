"""The rows that are folded from chain_events: markets, positions, trades, votes cast on chain, the config."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from zmart.market.fold_config import ChainKey, ConfigFold
from zmart.market.fold_state import FoldedTrade, FoldedVote, MarketFold, PositionFold
from zmart.market.types import MarketId, MarketState, Signature, VoteKind, Wallet
from zmart.store.bulk import Column, array, arrays, enum_name, enum_value, select, unnest, upsert
from zmart.store.outcomes import CHOICES, choice_word, final_word, outcome_of, outcome_word
from zmart.store.pool import Connection, Pool, Record

_U64 = "numeric"


def _final_outcome(market: MarketFold) -> str | None:
    return final_word(market.state is MarketState.FINALIZED, market.final_outcome)


_MARKET = (
    Column("market_id", "text"),
    Column("address", "text"),
    Column("creator", "text"),
    Column("state", "text", enum_name),
    Column("b_parameter", _U64),
    Column("initial_liquidity", _U64, lambda lamports: lamports or 0),
    Column("current_liquidity", _U64),
    Column("shares_yes", _U64),
    Column("shares_no", _U64),
    Column("price_yes_e9", "bigint"),
    Column("total_volume", _U64),
    Column("trades_count", "integer"),
    Column("traders", "integer"),
    Column("accumulated_protocol_fees", _U64),
    Column("accumulated_resolver_fees", _U64),
    Column("accumulated_lp_fees", _U64),
    Column("claimed_shares", _U64),
    Column("question_cid", "text"),
    Column("evidence_cid", "text"),
    Column("resolver", "text"),
    Column("proposed_outcome", "text", outcome_word),
    Column("final_outcome", "text", read=_final_outcome),
    Column("was_disputed", "boolean"),
    Column("dispute_initiator", "text"),
    Column("proposal_likes", "bigint"),
    Column("proposal_dislikes", "bigint"),
    Column("dispute_agree", "bigint"),
    Column("dispute_disagree", "bigint"),
    Column("created_at", "time"),
    Column("proposal_aggregated_at", "time"),
    Column("approved_at", "time"),
    Column("activated_at", "time"),
    Column("resolution_proposed_at", "time"),
    Column("dispute_initiated_at", "time"),
    Column("resolved_at", "time"),
    Column("finalized_at", "time"),
    Column("cancelled_at", "time"),
    Column("created_slot", "bigint"),
    Column("updated_slot", "bigint"),
    Column("events_count", "integer"),
)
_POSITION = (
    Column("wallet", "text"),
    Column("shares_yes", _U64),
    Column("shares_no", _U64),
    Column("total_invested", _U64),
    Column("trades_count", "integer"),
    Column("has_claimed", "boolean"),
    Column("claimed_lamports", _U64),
    Column("cost_basis_yes", _U64),
    Column("cost_basis_no", _U64),
    Column("realized_pnl_lamports", _U64),
    Column("first_trade_at", "time"),
    Column("last_trade_at", "time"),
    Column("updated_slot", "bigint"),
)
_MARKET_ID = Column("market_id", "text")
_TRADE = (
    Column("signature", "text"),
    Column("ordinal", "integer"),
    Column("market_id", "text"),
    Column("wallet", "text"),
    Column("side", "text", enum_value),
    Column("outcome", "text", outcome_word),
    Column("shares", _U64),
    Column("cost_lamports", "bigint"),
    Column("protocol_fee_lamports", "bigint"),
    Column("resolver_fee_lamports", "bigint"),
    Column("lp_fee_lamports", "bigint"),
    Column("price_yes_after_e9", "bigint"),
    Column("slot", "bigint"),
    Column("index_in_block", "integer"),
    Column("traded_at", "time"),
)
_VOTE = (
    Column("market_id", "text"),
    Column("kind", "text", enum_value),
    Column("wallet", "text"),
    Column("choice", "text", choice_word, attrgetter("vote")),
    Column("signature", "text"),
    Column("slot", "bigint"),
    Column("voted_at", "time"),
)
_HEAD = (
    Column("market_id", "text"),
    Column("signature", "text"),
    Column("slot", "bigint"),
    Column("index_in_block", "integer"),
    Column("ordinal", "integer"),
    Column("error", "text"),
    Column("error_slot", "bigint"),
    Column("error_index_in_block", "integer"),
    Column("error_ordinal", "integer"),
)
_CONFIG_NAMES = tuple(field.name for field in msgspec.structs.fields(ConfigFold))

_READ_MARKETS = f"{select('markets', _MARKET)} WHERE market_id = ANY($1::text[])"
_READ_HEADS = f"{select('market_folds', _HEAD)} WHERE market_id = ANY($1::text[])"
_READ_POSITIONS = f"""
{select("positions", (_MARKET_ID, *_POSITION))}
JOIN unnest($1::text[], $2::text[]) AS wanted (market_id, wallet) USING (market_id, wallet)
"""
_READ_ALL_POSITIONS = f"{select('positions', (_MARKET_ID, *_POSITION))} WHERE market_id = ANY($1::text[])"
_READ_EVERY_MARKET = select("markets", _MARKET)
_READ_EVERY_VOTE = select("onchain_votes", _VOTE)
_WRITE_MARKETS = upsert("markets", _MARKET, ("market_id",))
_WRITE_POSITIONS = upsert("positions", (_MARKET_ID, *_POSITION), ("market_id", "wallet"))
_WRITE_TRADES = upsert("trades", _TRADE, ("slot", "signature", "ordinal"))
_WRITE_VOTES = upsert("onchain_votes", _VOTE, ("market_id", "kind", "wallet"))
_WRITE_HEADS = upsert("market_folds", _HEAD, ("market_id",))
_WRITE_CONFIG = f"""
INSERT INTO program_config AS old ({", ".join(_CONFIG_NAMES)})
VALUES ({", ".join(f"${n}" for n in range(1, len(_CONFIG_NAMES) + 1))})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _CONFIG_NAMES)}
WHERE old IS DISTINCT FROM excluded
"""
_READ_CONFIG = f"SELECT {', '.join(_CONFIG_NAMES)} FROM program_config"
_NO_CONFIG = "DELETE FROM program_config"
_STALE = {
    "markets": (_MARKET_ID,),
    "market_folds": (_MARKET_ID,),
    "positions": (_MARKET_ID, Column("wallet", "text")),
    "trades": (Column("slot", "bigint"), Column("signature", "text"), Column("ordinal", "integer")),
    "onchain_votes": (_MARKET_ID, Column("kind", "text", enum_value), Column("wallet", "text")),
}
_DELETE_STALE = {
    table: f"""
DELETE FROM {table} t WHERE t.market_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM {unnest(key, first=2)} WHERE {" AND ".join(f"t.{c.name} = r.{c.name}" for c in key)})
"""
    for table, key in _STALE.items()
}
_DELETE_STALE_TRADES = """
DELETE FROM trades t WHERE t.market_id = $1 AND (
    (t.slot, t.index_in_block, t.ordinal) > ($2, $3, $4) OR NOT EXISTS (
        SELECT FROM chain_events e
        WHERE (e.slot, e.signature, e.ordinal) = (t.slot, t.signature, t.ordinal) AND e.market_id = $1))
"""
_HEADS_FROM = """
SELECT market_id FROM market_folds
WHERE error IS NOT NULL OR (slot, COALESCE(index_in_block, 0), ordinal) > ($1, $2, $3)
"""
_STUCK = """
SELECT f.market_id, f.error FROM market_folds f
WHERE error IS NOT NULL AND error_slot <= (SELECT gap_free_through_slot FROM index_progress)
ORDER BY error_slot LIMIT $1
"""


_FOLD_ERROR = "SELECT error FROM market_folds WHERE market_id = $1"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How far a market is folded: the last event applied (None: none), and the one that could not be."""

    market_id: MarketId
    signature: Signature | None = None
    slot: int | None = None
    index_in_block: int | None = None
    ordinal: int | None = None
    error: str | None = None
    error_slot: int | None = None
    error_index_in_block: int | None = None
    error_ordinal: int | None = None

    @property
    def key(self) -> ChainKey | None:
        return _key(self.slot, self.index_in_block, self.ordinal)

    @property
    def error_key(self) -> ChainKey | None:
        return _key(self.error_slot, self.error_index_in_block, self.error_ordinal)


def _key(slot: int | None, index: int | None, ordinal: int | None) -> ChainKey | None:
    return None if slot is None or ordinal is None else (slot, index or 0, ordinal)


class Rows(msgspec.Struct):
    """What a batch of folds leaves to be written."""

    markets: list[MarketFold] = msgspec.field(default_factory=list)
    positions: list[tuple[MarketId, PositionFold]] = msgspec.field(default_factory=list)
    trades: list[FoldedTrade] = msgspec.field(default_factory=list)
    votes: list[FoldedVote] = msgspec.field(default_factory=list)
    heads: list[Head] = msgspec.field(default_factory=list)


async def read_markets(
    connection: Connection, market_ids: Collection[MarketId]
) -> dict[MarketId, MarketFold]:
    return {row["market_id"]: _market(row) for row in await connection.fetch(_READ_MARKETS, list(market_ids))}


async def read_heads(connection: Connection, market_ids: Collection[MarketId]) -> dict[MarketId, Head]:
    rows = await connection.fetch(_READ_HEADS, list(market_ids))
    return {row["market_id"]: Head(**row) for row in rows}


async def read_positions(
    connection: Connection, of: Iterable[tuple[MarketId, Wallet]]
) -> dict[MarketId, dict[Wallet, PositionFold]]:
    """The positions of these wallets in these markets, as far as there are any."""
    pairs = list(of)
    if not pairs:
        return {}
    market_ids, wallets = zip(*sorted(pairs), strict=True)  # neighbours in the key share a page
    return _by_market(await connection.fetch(_READ_POSITIONS, list(market_ids), list(wallets)))


async def read_all_positions(
    connection: Connection, market_ids: Collection[MarketId]
) -> dict[MarketId, dict[Wallet, PositionFold]]:
    return _by_market(await connection.fetch(_READ_ALL_POSITIONS, list(market_ids)))


async def read_every_market(connection: Connection) -> list[MarketFold]:
    return [_market(row) for row in await connection.fetch(_READ_EVERY_MARKET)]


async def read_every_vote(connection: Connection) -> list[FoldedVote]:
    rows = await connection.fetch(_READ_EVERY_VOTE)
    found = []
    for row in rows:
        values: dict[str, Any] = dict(row)
        choice, kind = values.pop("choice"), VoteKind(values["kind"])
        found.append(FoldedVote(**{**values, "kind": kind, "vote": choice == CHOICES[True]}))
    return found


Statements = list[tuple[str, list[str]]]


async def statements(rows: Rows) -> Statements:
    """What writes them, one statement per table, each with its arguments ready to be sent. Others of this process
    get their turn after each table."""
    found: Statements = []
    for statement, columns, values in (
        (_WRITE_MARKETS, _MARKET, rows.markets),
        (_WRITE_TRADES, _TRADE, rows.trades),
        (_WRITE_VOTES, _VOTE, list({(v.market_id, v.kind, v.wallet): v for v in rows.votes}.values())),
        (_WRITE_HEADS, _HEAD, rows.heads),
    ):
        if values:
            found.append((statement, arrays(columns, values)))
            await asyncio.sleep(0)
    if rows.positions:
        ids = array("text", [market_id for market_id, _ in rows.positions])
        columns_of = arrays(_POSITION, [position for _, position in rows.positions])
        found.append((_WRITE_POSITIONS, [ids, *columns_of]))
    return found


async def execute(connection: Connection, ready: Statements) -> None:
    """Write what changed; rows that are equal already are left alone."""
    for statement, arguments in ready:
        await connection.execute(statement, *arguments)


async def write(connection: Connection, rows: Rows) -> None:
    """`statements`, executed."""
    await execute(connection, await statements(rows))


async def delete_stale(connection: Connection, market_ids: Collection[MarketId], rows: Rows) -> None:
    """Delete what refolded markets had and `rows` does not have any more."""
    positions = [_Key(market_id, position.wallet) for market_id, position in rows.positions]
    kept: Mapping[str, Sequence[object]] = {
        "markets": rows.markets,
        "market_folds": rows.heads,
        "positions": positions,
        "trades": rows.trades,
        "onchain_votes": rows.votes,
    }
    for table, statement in _DELETE_STALE.items():
        await connection.execute(statement, list(market_ids), *arrays(_STALE[table], kept[table]))


async def delete_stale_of_long(connection: Connection, market_id: MarketId, rows: Rows) -> None:
    """The same for one market whose trades are too many to name: those without an event, and those behind the
    last event that could be folded."""
    key = rows.heads[0].key or (-1, -1, -1)
    await connection.execute(_DELETE_STALE_TRADES, market_id, *key)
    kept: Mapping[str, Sequence[object]] = {
        "markets": rows.markets,
        "positions": [_Key(market_id, position.wallet) for _, position in rows.positions],
        "onchain_votes": rows.votes,
    }
    for table, values in kept.items():
        await connection.execute(_DELETE_STALE[table], [market_id], *arrays(_STALE[table], values))


class _Key(msgspec.Struct, frozen=True):
    market_id: MarketId
    wallet: Wallet


async def write_config(connection: Connection, config: ConfigFold | None) -> None:
    """The config after all its events; None when none is known."""
    if config is None:
        await connection.execute(_NO_CONFIG)
    else:
        await connection.execute(_WRITE_CONFIG, *msgspec.structs.astuple(config))


async def read_config(connection: Connection) -> ConfigFold | None:
    row = await connection.fetchrow(_READ_CONFIG)
    return ConfigFold(**row) if row else None


async def folded_after(connection: Connection, key: ChainKey) -> set[MarketId]:
    """Markets that an event of the config at `key` can concern: folded beyond it, or stuck."""
    return {row["market_id"] for row in await connection.fetch(_HEADS_FROM, *key)}


async def stuck(connection: Connection | Pool, limit: int = 100) -> list[tuple[MarketId, str]]:
    """Markets with an event that cannot be folded although nothing before it is missing, and why."""
    return [(row["market_id"], row["error"]) for row in await connection.fetch(_STUCK, limit)]


async def fold_error(db: Connection | Pool, market_id: MarketId) -> str | None:
    """Why the market's events are not folded further; None if all that are known are."""
    reason: str | None = await db.fetchval(_FOLD_ERROR, market_id)
    return reason


def _market(row: Record) -> MarketFold:
    values: dict[str, Any] = dict(row)
    values["state"] = MarketState[values["state"]]
    values["initial_liquidity"] = values["initial_liquidity"] or None
    values["proposed_outcome"] = outcome_of(values["proposed_outcome"])
    values["final_outcome"] = outcome_of(values["final_outcome"])
    return MarketFold(**values)


def _by_market(rows: Iterable[Record]) -> dict[MarketId, dict[Wallet, PositionFold]]:
    found: dict[MarketId, dict[Wallet, PositionFold]] = {}
    for row in rows:
        values: dict[str, Any] = dict(row)
        position = PositionFold(**{name: value for name, value in values.items() if name != "market_id"})
        found.setdefault(values["market_id"], {})[position.wallet] = position
    return found
