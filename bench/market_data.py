"""Fill a database by bulk SQL with many markets, documents and trades, as the indexer would have written them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncpg

SQL = Path(__file__).with_suffix(".sql")
# Typical markets: ACTIVE, with more trades than fit on one page.
_TYPICAL = """
SELECT market_id FROM markets WHERE state = 'ACTIVE' AND trades_count BETWEEN 50 AND 500 ORDER BY market_id LIMIT $1
"""


@dataclass(frozen=True)
class Size:
    markets: int
    trades: int


FULL = Size(100_000, 1_000_000)
QUICK = Size(10_000, 100_000)


async def fill(database_url: str, size: Size, number: int, sql_file: Path = SQL) -> list[str]:
    """Fill a migrated database; return the ids of up to `number` ACTIVE markets with 50 to 500 trades."""
    sql = sql_file.read_text("utf-8")  # noqa: ASYNC240  # no other task runs
    connection = await asyncpg.connect(database_url, command_timeout=600)
    try:
        # Without triggers: the change feed of this data is not measured.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SELECT setseed(0.5)")
        await connection.execute(
            sql.replace(":markets", str(size.markets)).replace(":trades", str(size.trades))
        )
        await connection.execute("VACUUM ANALYZE")
        return [row["market_id"] for row in await connection.fetch(_TYPICAL, number)]
    finally:
        await connection.close()
