"""Store the indexed transactions of the program with their events, permanently unless one leaves the chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

import msgspec

from zmart.market.events import ChainEvent, StoredEvent, WinningsClaimed, kind_of
from zmart.market.types import Address, Finality, MarketId, Signature, Slot
from zmart.store.bulk import Column, array, enum_value, insert
from zmart.store.bulk import arrays as arrays_of
from zmart.store.pool import Connection, Pool, Record

_TRANSACTIONS = (
    Column("signature", "text"),
    Column("slot", "bigint"),
    Column("index_in_block", "integer"),
    Column("failed", "boolean"),
    Column("finality", "text", enum_value),
    Column("event_count", "integer"),
    Column("unknown_events", "integer"),
)
_EVENTS = (
    Column("signature", "text"),
    Column("ordinal", "integer"),
    Column("slot", "bigint"),
    Column("index_in_block", "integer"),
    Column("name", "text"),
    Column("market_id", "text"),
    Column("event", "jsonb"),
)
_COLUMNS = "signature, ordinal, slot, index_in_block, market_id, event"

_ADD_TRANSACTIONS = f"{insert('chain_transactions', _TRANSACTIONS)} ON CONFLICT DO NOTHING"
_ADD_EVENTS = f"{insert('chain_events', _EVENTS)} ON CONFLICT DO NOTHING"
_ADD_UNKNOWN = """
INSERT INTO unknown_events (slot, signature, ordinal, payload)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::bytea[]) ON CONFLICT DO NOTHING
"""
_UNKNOWN = (
    "SELECT signature FROM unknown_events GROUP BY slot, signature ORDER BY slot DESC, signature LIMIT $1"
)
_REMOVE_UNKNOWN = "DELETE FROM unknown_events WHERE signature = ANY($1::text[])"
_KNOWN = "SELECT signature FROM chain_transactions WHERE signature = ANY($1::text[])"
_SLOTS = "SELECT signature, slot FROM chain_transactions WHERE signature = ANY($1::text[])"
_NEIGHBOURS = """
SELECT slot, signature, index_in_block FROM chain_transactions
WHERE slot = ANY($1::bigint[]) AND event_count > 0
"""
_NEW_POSITIONS = """
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS p (signature, position, slot)
WHERE t.slot = p.slot AND t.signature = p.signature AND t.index_in_block IS DISTINCT FROM p.position
"""
_SET_POSITIONS = tuple(
    f"UPDATE {table} t SET index_in_block = p.position {_NEW_POSITIONS}"
    for table in ("chain_transactions", "chain_events")
)
_SET_TRADE_POSITIONS = """
UPDATE trades t SET index_in_block = p.position
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS p (signature, position, slot)
WHERE t.slot = p.slot AND t.signature = p.signature AND t.index_in_block <> p.position
"""
_SET_HEAD_POSITIONS = f"UPDATE market_folds t SET index_in_block = p.position {_NEW_POSITIONS}"
_MAP = """
UPDATE chain_events t SET market_id = m.market_id FROM unnest($1::text[], $2::text[]) AS m (address, market_id)
WHERE t.market_id IS NULL AND t.name = 'WinningsClaimed' AND t.event ->> 'market' = m.address
RETURNING t.market_id
"""
_MARKETS_AT = "SELECT address, market_id FROM markets WHERE address = ANY($1::text[])"
_OF_MARKETS = f"""
SELECT {_COLUMNS} FROM chain_events WHERE market_id = ANY($1::text[])
ORDER BY market_id, slot, index_in_block NULLS FIRST, ordinal
"""
_OF_LONG_MARKET = f"""
SELECT {_COLUMNS} FROM chain_events WHERE market_id = $1 ORDER BY slot, index_in_block NULLS FIRST, ordinal
"""
_OF_MARKET_FROM = f"""
SELECT {_COLUMNS} FROM chain_events WHERE market_id = $1 AND slot >= $2
ORDER BY slot, index_in_block NULLS FIRST, ordinal LIMIT $3
"""
_COUNTS = (
    "SELECT market_id, count(*) AS n FROM chain_events WHERE market_id = ANY($1::text[]) GROUP BY market_id"
)
_OF_CONFIG = f"""
SELECT {_COLUMNS} FROM chain_events
WHERE name IN ('GlobalConfigInitialized', 'ConfigUpdated', 'ProtocolPauseStatusChanged')
ORDER BY slot, index_in_block NULLS FIRST, ordinal
"""
_MARKET_IDS = """
SELECT market_id FROM (SELECT DISTINCT market_id FROM chain_events WHERE market_id IS NOT NULL
    UNION SELECT market_id FROM markets UNION SELECT market_id FROM market_folds) AS all_of_them
WHERE market_id > $1 ORDER BY market_id LIMIT $2
"""
_COUNT = "SELECT count(*) FROM chain_events"
_MARKETS_OF = """
SELECT DISTINCT market_id, name IN ('GlobalConfigInitialized', 'ConfigUpdated', 'ProtocolPauseStatusChanged') AS config
FROM chain_events JOIN chain_transactions USING (slot, signature) WHERE signature = ANY($1::text[])
"""
_REMOVE_UNCONFIRMED = """
DELETE FROM unconfirmed_transactions u USING chain_transactions t
WHERE u.slot = t.slot AND u.signature = t.signature AND t.signature = ANY($1::text[])
"""
_REMOVE_EVENTS = """
DELETE FROM chain_events e USING chain_transactions t
WHERE e.slot = t.slot AND e.signature = t.signature AND t.signature = ANY($1::text[])
"""
_REMOVE = "DELETE FROM chain_transactions WHERE signature = ANY($1::text[])"
_event = msgspec.json.Decoder(StoredEvent)


class TransactionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction to index. `index_in_block` is None while it is not known. `unknown_events`: how many event payloads
    of the program could not be decoded; `undecodable`: these payloads as (ordinal, bytes)."""

    signature: Signature
    slot: Slot
    index_in_block: int | None
    failed: bool
    event_count: int
    unknown_events: int = 0
    undecodable: tuple[tuple[int, bytes], ...] = ()
    finality: Finality = Finality.CONFIRMED


class Neighbour(msgspec.Struct, frozen=True):
    """The position of an indexed transaction with events. Events of one slot are folded in the order of
    `index_in_block`, which is None while it is not known."""

    slot: Slot
    signature: Signature
    index_in_block: int | None


class AffectedProjections(msgspec.Struct, frozen=True):
    """The projections that the events of some transactions change. `config`: whether GlobalConfig is one of them."""

    markets: set[MarketId]
    config: bool


async def known(connection: Connection, signatures: Collection[Signature]) -> set[Signature]:
    """Return those of `signatures` whose transactions are indexed."""
    return {row["signature"] for row in await connection.fetch(_KNOWN, list(signatures))}


async def add(
    connection: Connection | Pool,
    transactions: Sequence[TransactionRow],
    events: Iterable[tuple[ChainEvent, MarketId | None]] = (),
) -> None:
    """Insert transactions and their events. Each event comes with the id of its market, None for an event of
    GlobalConfig or of an unknown market. Transactions and events that are indexed already stay as they are."""
    await connection.execute(_ADD_TRANSACTIONS, *arrays_of(_TRANSACTIONS, transactions))
    rows = [
        (
            e.signature,
            e.ordinal,
            e.slot,
            e.index_in_block,
            kind_of(e.event).__name__,
            market_id,
            _encode(e.event),
        )
        for e, market_id in sorted(events, key=_key)  # rows in the order of their key fill its pages
    ]
    undecodable = [(t.slot, t.signature, *one) for t in transactions for one in t.undecodable]
    if undecodable:
        await connection.execute(_ADD_UNKNOWN, *(list(column) for column in zip(*undecodable, strict=True)))
    if rows:
        columns = zip(_EVENTS, zip(*rows, strict=True), strict=True)
        await connection.execute(_ADD_EVENTS, *(array(c.array_type, values) for c, values in columns))


async def slots_of(connection: Connection, signatures: Collection[Signature]) -> dict[Signature, Slot]:
    """Return the slots of indexed transactions by signature; signatures that are not indexed are left out."""
    rows = await connection.fetch(_SLOTS, list(signatures))
    return {row["signature"]: row["slot"] for row in rows}


async def neighbours(connection: Connection | Pool, slots: Collection[Slot]) -> list[Neighbour]:
    """Return the positions of the indexed transactions with events in `slots`."""
    return [Neighbour(*row) for row in await connection.fetch(_NEIGHBOURS, list(slots))]


async def set_positions(connection: Connection, placed: Sequence[Neighbour]) -> None:
    """Write the index in the block of each transaction in `placed` into every table that holds it."""
    arguments = (
        [p.signature for p in placed],
        [p.index_in_block for p in placed],
        [p.slot for p in placed],
    )
    for statement in (*_SET_POSITIONS, _SET_TRADE_POSITIONS, _SET_HEAD_POSITIONS):
        await connection.execute(statement, *arguments)


async def map_claims(connection: Connection, markets: Mapping[Address, MarketId]) -> set[MarketId]:
    """Set the market id of WinningsClaimed events that were indexed before their market. `markets` maps addresses to
    ids. Returns the ids of the markets that had such events."""
    if not markets:
        return set()
    rows = await connection.fetch(_MAP, list(markets.keys()), list(markets.values()))
    return {row["market_id"] for row in rows}


async def markets_at(connection: Connection, addresses: Collection[Address]) -> dict[Address, MarketId]:
    """Return the ids of indexed markets by the addresses of their accounts."""
    if not addresses:
        return {}
    return {row["address"]: row["market_id"] for row in await connection.fetch(_MARKETS_AT, list(addresses))}


async def of_markets(
    connection: Connection, market_ids: Collection[MarketId]
) -> dict[MarketId, list[ChainEvent]]:
    """Return all events of each market in chain order; an empty list for a market without events."""
    events: dict[MarketId, list[ChainEvent]] = {market_id: [] for market_id in market_ids}
    for row in await connection.fetch(_OF_MARKETS, list(market_ids)):
        events[row["market_id"]].append(_chain_event(row))
    return events


async def of_long_market(
    connection: Connection, market_id: MarketId, piece: int
) -> AsyncIterator[list[ChainEvent]]:
    """Yield the events of one market in chain order, in lists of at most `piece` events. Needs a transaction."""
    async for rows in connection.pieces(_OF_LONG_MARKET, market_id, size=piece):
        yield [_chain_event(row) for row in rows]


async def of_market_from(
    connection: Connection, market_id: MarketId, slot: Slot, limit: int
) -> list[ChainEvent]:
    """Return the first `limit` events of one market from `slot` on, in chain order."""
    return [_chain_event(row) for row in await connection.fetch(_OF_MARKET_FROM, market_id, slot, limit)]


async def counts(connection: Connection, market_ids: Collection[MarketId]) -> dict[MarketId, int]:
    """Return the number of events by market; markets without events are left out."""
    return {row["market_id"]: row["n"] for row in await connection.fetch(_COUNTS, list(market_ids))}


async def of_config(connection: Connection | Pool) -> list[ChainEvent]:
    """Return all events of GlobalConfig in chain order."""
    return [_chain_event(row) for row in await connection.fetch(_OF_CONFIG)]


async def market_ids(connection: Connection, after: str, limit: int) -> list[MarketId]:
    """Return a page of the ids of all markets that an event or a projection names. The page has up to `limit` ids
    that are greater than `after`, in order."""
    return [row["market_id"] for row in await connection.fetch(_MARKET_IDS, after, limit)]


async def count(connection: Connection | Pool) -> int:
    """Return the number of events of all transactions."""
    total: int = await connection.fetchval(_COUNT)
    return total


async def affected_by(connection: Connection, signatures: Collection[Signature]) -> AffectedProjections:
    """Return the projections that the events of these transactions change."""
    rows = await connection.fetch(_MARKETS_OF, list(signatures))
    markets = {row["market_id"] for row in rows if row["market_id"] is not None}
    return AffectedProjections(markets, any(row["config"] for row in rows))


async def remove(connection: Connection, signatures: Sequence[Signature]) -> AffectedProjections:
    """Delete transactions that left the chain, with their events. Returns the projections that the events changed."""
    affected = await affected_by(connection, signatures)
    await connection.execute(_REMOVE_UNKNOWN, list(signatures))
    await connection.execute(_REMOVE_UNCONFIRMED, list(signatures))
    await connection.execute(_REMOVE_EVENTS, list(signatures))
    await connection.execute(_REMOVE, list(signatures))
    return affected


async def unknown(connection: Connection | Pool, limit: int) -> list[Signature]:
    """Return up to `limit` transactions with event payloads that could not be decoded, the newest first."""
    return [row["signature"] for row in await connection.fetch(_UNKNOWN, limit)]


def _key(item: tuple[ChainEvent, MarketId | None]) -> tuple[Slot, Signature, int]:
    return item[0].slot, item[0].signature, item[0].ordinal


def _encode(event: StoredEvent) -> str:
    return msgspec.json.encode(event).decode()


def _chain_event(row: Record) -> ChainEvent:
    return ChainEvent(
        signature=row["signature"],
        ordinal=row["ordinal"],
        slot=row["slot"],
        index_in_block=row["index_in_block"],
        event=_event.decode(row["event"]),
    )


def market_named(event: StoredEvent, at: Mapping[Address, MarketId]) -> MarketId | None:
    """Return the id of an event's market. It is None for an event of GlobalConfig, and for a claim whose market is
    not in `at`, the market ids by address."""
    if isinstance(event, WinningsClaimed):
        return at.get(event.market)
    market_id: MarketId | None = getattr(event, "market_id", None)
    return market_id
