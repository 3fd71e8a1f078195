"""Compare the rows of an answer with those that the database has for its path, read by SQL of this module.

Rows are numbers by name, in the answer's order; the numbers grow with every trade. All other content of answers is
compared between the gateway and the peers before any load.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

Rows = dict[str, tuple[int, ...]]

_NEWEST = """
SELECT /* bench */ market_id AS name, trades_count, total_volume::bigint FROM markets
ORDER BY created_at DESC, market_id DESC LIMIT $1 OFFSET $2
"""
_ONE = "SELECT /* bench */ market_id AS name, trades_count, total_volume::bigint FROM markets WHERE market_id = $1"
_TRADES = """
SELECT /* bench */ name, slot FROM (
    SELECT signature || ':' || ordinal AS name, slot, index_in_block, ordinal FROM trades WHERE market_id = $1
    ORDER BY slot DESC, index_in_block DESC, ordinal DESC LIMIT 50) newest
ORDER BY slot, index_in_block, ordinal
"""
_CANDLES = """
SELECT /* bench */ (extract(epoch FROM traded_at)::bigint / 3600 * 3600)::text AS name, count(*),
    sum(cost_lamports)::bigint
FROM trades JOIN markets USING (market_id) WHERE market_id = $1 AND traded_at >= date_trunc('hour', activated_at)
    AND traded_at >= date_trunc('hour', now() - interval '200 hours')
GROUP BY 1 ORDER BY min(traded_at)
"""


async def in_database(connection: asyncpg.Connection, path: str) -> Rows:
    parts = urlsplit(path)
    names = parts.path.removeprefix("/api/markets").strip("/").split("/")
    if names == [""]:
        query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        rows = await connection.fetch(_NEWEST, query["limit"], query["offset"])
    else:
        sql = _ONE if len(names) == 1 else {"trades": _TRADES, "candles": _CANDLES}[names[1]]
        rows = await connection.fetch(sql, names[0])
    return {row[0]: tuple(row[1:]) for row in map(tuple, rows)}


def in_answer(body: bytes) -> Rows:
    """Return the rows in the body of an answer. Raises ValueError or KeyError when it has another form."""
    answer: dict[str, Any] = json.loads(body)
    if "markets" in answer:
        return {each["id"]: _market(each) for each in answer["markets"]}
    if "trades" in answer:
        return {each["id"]: (each["slot"],) for each in answer["trades"]}
    if "candles" in answer:
        traded = [each for each in answer["candles"] if each["trades"]]
        return {_start_s(each["timestamp"]): (each["trades"], each["volume"]) for each in traded}
    return {answer["id"]: _market(answer)}


def _market(answer: dict[str, Any]) -> tuple[int, ...]:
    return answer["total_trades"], answer["total_volume"]


def _start_s(timestamp: str) -> str:
    return str(int(datetime.fromisoformat(timestamp).timestamp()))


def problem(answered: Rows, before: Rows | None, after: Rows) -> str | None:
    """Return what is wrong with an answer that came between two reads of the database; None when nothing is.

    `before` None: the answer may be older than both reads. New trades are added at the end of a list and remove old
    ones at its start, so the answer's names must be a contiguous part of both reads' names joined.
    """
    expected = list({**(before or {}), **after})
    names = list(answered)
    at = expected.index(names[0]) if names and names[0] in expected else 0
    if before is not None and (
        expected[at : at + len(names)] != names or len(names) < min(len(before), len(after))
    ):
        return f"other rows: {_brief(names)} in the place of {_brief(expected)}"
    for name, numbers in answered.items():
        if name in after and any(number > most for number, most in zip(numbers, after[name], strict=True)):
            return f"{name} is ahead of the database: {numbers} above {after[name]}"
        if (
            before
            and name in before
            and any(n < least for n, least in zip(numbers, before[name], strict=True))
        ):
            return f"{name} is behind the database: {numbers} below {before[name]}"
    return None


def _brief(names: list[str]) -> str:
    return ", ".join(name[:12] for name in names[:3]) + (", ..." if len(names) > 3 else "") or "none"
