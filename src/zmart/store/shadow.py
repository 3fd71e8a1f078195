"""Build a second set of projections, the shadow, beside the live ones; compare the two row by row, and merge them.

The merge is one transaction: readers see either the old rows or the new ones. It writes only rows that differ, so that
the change feed publishes the corrections and nothing else. An exchange of the tables would not be published at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from zmart.errors import Conflict
from zmart.market.types import MarketId
from zmart.store.pool import Connection
from zmart.store.projections import CONFIG, PROJECTIONS
from zmart.store.tables import Table

_SCHEMA = "zmart_rebuild"
_LOCK_ID = 0x7A6D7265626C64
_TABLES = (CONFIG, *PROJECTIONS)

_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_UNLOCK = "SELECT pg_advisory_unlock($1)"
_LIVE = "SELECT current_schema()"
_DROP = f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE"
_CREATE = f"CREATE SCHEMA {_SCHEMA}"
_TABLE = (
    "CREATE UNLOGGED TABLE {schema}.{table} (LIKE {live}.{table} INCLUDING DEFAULTS, PRIMARY KEY ({key}))"
)
_INTO = f"SELECT set_config('search_path', '{_SCHEMA}, ' || current_setting('search_path'), true)"
_BACK = f"SELECT set_config('search_path', regexp_replace(current_setting('search_path'), '^{_SCHEMA}, ', ''), true)"
# An event that was deleted and inserted again with other content has another xmin.
_DIGESTS = """
SELECT COALESCE(market_id, '') AS market_id, count(*) || ':' || sum(hashtextextended(concat_ws(
    ':', signature, slot, ordinal, COALESCE(index_in_block, -1), xmin), 0)) AS digest
FROM chain_events GROUP BY 1
"""
_COUNT_DIFFERENT = """
SELECT count(*) FROM {live}.{table} l FULL JOIN {schema}.{table} s USING ({key}) WHERE l::text IS DISTINCT FROM s::text
"""
_DELETE = """
DELETE FROM {live}.{table} l WHERE NOT EXISTS (SELECT FROM {schema}.{table} s WHERE ({s_key}) = ({l_key}))
"""
_MERGE = """
INSERT INTO {live}.{table} ({columns}) SELECT {columns} FROM {schema}.{table} s
WHERE NOT EXISTS (SELECT FROM {live}.{table} l WHERE ({s_key}) = ({l_key}) AND l::text = s::text)
ON CONFLICT ({key}) DO UPDATE SET {assignments}
"""
_ROWS = "SELECT count(*) FROM {schema}.{table}"

Digests = Mapping[MarketId | str, str]


@asynccontextmanager
async def schema(connection: Connection) -> AsyncIterator[None]:
    """Create empty shadow tables in a schema of their own, and drop them after the block. Raises Conflict while another
    rebuild runs."""
    if not await connection.fetchval(_TRY_LOCK, _LOCK_ID):
        raise Conflict("Another rebuild is running: wait for it.")
    try:
        await connection.execute(_DROP)
        await connection.execute(_CREATE)
        for table in _TABLES:
            await connection.execute(_TABLE.format(**await _names(connection, table)))
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(_DROP)
            await connection.execute(_UNLOCK, _LOCK_ID)


async def write_here(connection: Connection) -> None:
    """Let the transaction write and read projections in the shadow tables. Other tables, such as chain_events, remain
    the live ones."""
    await connection.execute(_INTO)


async def write_live(connection: Connection) -> None:
    """Let the transaction write and read projections in the live tables again, after `write_here`."""
    await connection.execute(_BACK)


async def digests(connection: Connection) -> Digests:
    """Return a digest of each market's events by market id. The key "" has the digest of all events without a market,
    mainly those of GlobalConfig."""
    return {row["market_id"]: row["digest"] for row in await connection.fetch(_DIGESTS)}


async def merge(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Make the live tables equal to the shadow tables. Returns two mappings by table: the number of rows in the shadow,
    and the number of rows that were different, missing or surplus in the live table."""
    rows, different = {}, {}
    for table in _TABLES:
        names = await _names(connection, table)
        rows[table.name] = await connection.fetchval(_ROWS.format(**names))
        different[table.name] = await connection.fetchval(_COUNT_DIFFERENT.format(**names))
        if different[table.name]:
            await connection.execute(_DELETE.format(**names))
            await connection.execute(_MERGE.format(**names))
    return rows, different


async def _names(connection: Connection, table: Table) -> dict[str, str]:
    live = await connection.fetchval(_LIVE)
    columns = [column.name for column in table.columns]
    return {
        "schema": _SCHEMA,
        "live": f'"{live}"',
        "table": table.name,
        "key": ", ".join(table.key),
        "s_key": ", ".join(f"s.{name}" for name in table.key),
        "l_key": ", ".join(f"l.{name}" for name in table.key),
        "columns": ", ".join(columns),
        "assignments": ", ".join(f"{name} = excluded.{name}" for name in columns),
    }
