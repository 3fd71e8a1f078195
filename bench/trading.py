"""Writes beside the reads: commit a trade for every line that comes through a pipe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

import asyncpg

# Insert a copy of the market's newest trade, with any columns, in the next slot, and update the market. Both tables are
# published, so the change feed moves. The comment marks the statement as the benchmark's own.
WRITE = """
WITH trade AS (
    INSERT INTO trades SELECT copied.* FROM
        (SELECT t FROM trades t WHERE market_id = $1
         ORDER BY slot DESC, index_in_block DESC, ordinal DESC LIMIT 1) newest,
        jsonb_populate_record(newest.t, jsonb_build_object(
            'signature', $2::text, 'slot', (newest.t).slot + 1, 'traded_at', now())) copied
    RETURNING market_id, cost_lamports)
UPDATE /* bench */ markets SET trades_count = trades_count + 1, total_volume = total_volume + trade.cost_lamports
FROM trade WHERE markets.market_id = trade.market_id
"""
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Trader:
    """Commits trades on one connection, one after the other; `committed` counts them."""

    def __init__(self, connection: asyncpg.Connection, market_ids: Sequence[str], random: Random) -> None:
        self.committed = 0
        self._connection = connection
        self._market_ids = market_ids
        self._random = random

    async def commit(self) -> None:
        """Commit a trade on a random market; AssertionError when nothing was written."""
        signature = "".join(self._random.choices(_ALPHABET, k=88))
        done = await self._connection.execute(WRITE, self._random.choice(self._market_ids), signature)
        assert done == "UPDATE 1", f"a write changed nothing: {done}"
        self.committed += 1

    async def run(self, pipe: int, until: asyncio.Event) -> int:
        """Commit a trade for each empty line from the pipe until the event is set; return how many lines came."""
        loop, readable, written = asyncio.get_running_loop(), asyncio.Event(), 0
        loop.add_reader(pipe, readable.set)
        try:
            while not until.is_set():
                waiting = [asyncio.ensure_future(each.wait()) for each in (readable, until)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in waiting:
                    each.cancel()
                readable.clear()
                lines = _read(pipe)
                written += lines
                for _ in range(lines):
                    await self.commit()
                    if until.is_set():
                        break
        finally:
            loop.remove_reader(pipe)
        return written + _read(pipe)


def open_pipe(path: Path) -> int:
    """Make a named pipe that stays open without writers; return its file descriptor, which does not block."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def _read(pipe: int) -> int:
    try:
        return len(os.read(pipe, 65_536))
    except BlockingIOError:
        return 0
