"""Insert the rows of a folded history again, by `unnest` into copies of the tables without triggers."""

from __future__ import annotations

import time

from zmart.store.pool import Pool

_TABLES = ("chain_transactions", "chain_events", "trades")
_PIECE = 2_000
_COLUMNS = """
SELECT attname AS name, format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, NULL) AS type
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def bare_insert(url: str) -> tuple[float, int]:
    """Insert the rows into tables with the same indexes, 2,000 rows a transaction; return the seconds and the rows."""
    pool = await Pool.open(url, size=1)
    await pool.execute("CREATE SCHEMA bare")
    pieces = []
    for table in _TABLES:
        await pool.execute(f"CREATE TABLE bare.{table} (LIKE {table} INCLUDING ALL)")
        columns = await pool.fetch(_COLUMNS, table)
        names = ", ".join(c["name"] for c in columns)
        arrays = ", ".join(f"${n}::{c['type']}[]" for n, c in enumerate(columns, 1))
        # The names are those of tables and columns of our schema, no input.
        statement = f"INSERT INTO bare.{table} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
        rows = await pool.fetch(f"SELECT {names} FROM {table} ORDER BY slot")  # noqa: S608
        for start in range(0, len(rows), _PIECE):
            piece = rows[start : start + _PIECE]
            pieces.append((start, statement, [list(c) for c in zip(*piece, strict=True)], len(piece)))
    pieces.sort(key=lambda piece: piece[0])
    started = time.perf_counter()
    for _, statement, arguments, _ in pieces:
        await pool.execute(statement, *arguments)
    seconds = time.perf_counter() - started
    await pool.close()
    return seconds, sum(piece[3] for piece in pieces)
