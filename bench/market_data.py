"""Markets, documents and trades by the hundred thousand, as the indexer would have left them, by bulk SQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncpg

_SQL = Path(__file__).with_suffix(".sql")
_BUSIEST = "SELECT market_id FROM markets WHERE state = 'ACTIVE' ORDER BY trades_count DESC LIMIT 1"


@dataclass(frozen=True)
class Size:
    markets: int
    trades: int


FULL = Size(100_000, 1_000_000)
QUICK = Size(10_000, 100_000)


async def fill(database_url: str, size: Size) -> str:
    """Fill a migrated database; the id of the open market with the most trades."""
    connection = await asyncpg.connect(database_url, command_timeout=600)
    try:
        # Without triggers: the change feed of a year is not what is measured here.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SELECT setseed(0.5)")
        sql = _SQL.read_text("utf-8")
        await connection.execute(
            sql.replace(":markets", str(size.markets)).replace(":trades", str(size.trades))
        )
        await connection.execute("VACUUM ANALYZE")
        return str(await connection.fetchval(_BUSIEST))
    finally:
        await connection.close()
