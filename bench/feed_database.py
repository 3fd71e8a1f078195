"""The databases of the live feed's benchmark, one for each server, and the writer that commits trades.

A trade's signature contains the moment before its commit (CLOCK_MONOTONIC, ns) and the number of its row, so that they
can be read from a message of any server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from database import servers
from subjects import Stores

_PREFIX = "SENT"
MARK = b'signature":"' + _PREFIX.encode()
"""Bytes that occur once in each message; after them come the moment (19 digits), N and the row's number (12 digits)."""
COMMITS_PER_S = 20
PUBLICATION = "changes"

_TABLE = """
CREATE TABLE trades (
    signature text NOT NULL, ordinal integer NOT NULL, market_id text NOT NULL, wallet text NOT NULL,
    side text NOT NULL, outcome text NOT NULL, shares numeric(20, 0) NOT NULL, cost_lamports bigint NOT NULL,
    protocol_fee_lamports bigint NOT NULL, resolver_fee_lamports bigint NOT NULL, lp_fee_lamports bigint NOT NULL,
    price_yes_after_e9 bigint NOT NULL, slot bigint NOT NULL, index_in_block integer NOT NULL,
    traded_at timestamptz NOT NULL, PRIMARY KEY (slot, signature, ordinal))
"""
"""The table of trades as in the schema, without the indexes for readers."""
NOTIFYING = f"""
{_TABLE};
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{PUBLICATION}', json_build_object('type', 'INSERT', 'schema', TG_TABLE_SCHEMA,
        'table', TG_TABLE_NAME, 'committed', clock_timestamp(), 'record', row_to_json(NEW))::text);
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER INSERT ON trades FOR EACH ROW EXECUTE FUNCTION announce()
"""
REPLICATED = f"{_TABLE}; CREATE PUBLICATION {PUBLICATION} FOR TABLE trades"
CREATE_SLOT = f"SELECT pg_create_logical_replication_slot('{PUBLICATION}', 'pgoutput')"
DROP_SLOT = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
_INSERT = """
INSERT INTO trades (signature, ordinal, market_id, wallet, side, outcome, shares, cost_lamports, protocol_fee_lamports,
    resolver_fee_lamports, lp_fee_lamports, price_yes_after_e9, slot, index_in_block, traded_at)
SELECT s, 0, repeat('ab', 32), repeat('W', 44), 'buy', 'yes', 1250000000, 712345678, 21370370, 14246914, 35617284,
    571234567, 412345678, 0, now() FROM unnest($1::text[]) s
"""


@contextmanager
def stores(folder: Path) -> Iterator[Stores]:
    """Run a PostgreSQL with logical replication and a database for each server, and a Valkey, within the block."""
    with servers(folder, "wal_level = logical") as (postgres, valkey):
        for name in ("zmart_feed", "notify", "replication", "bare"):
            postgres.create_database(name)
        yield Stores(postgres.url("{}"), valkey.url())


class TradeWriter:
    """Commits trades at an even pace, up to 20 times a second; `number` is that of the last committed row."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.number = 0
        self._connection = connection
        self._is_stopped = False

    async def run(self, changes_per_s: int) -> None:
        """Commit `changes_per_s` trades a second until `stop` is called."""
        commits_per_s = min(COMMITS_PER_S, changes_per_s)
        rows_each = changes_per_s // commits_per_s
        loop = asyncio.get_running_loop()
        at = loop.time()
        self._is_stopped = False
        while not self._is_stopped:
            at = max(at + 1 / commits_per_s, loop.time() - 1)
            await asyncio.sleep(max(0, at - loop.time()))
            await self.commit(rows_each)

    def stop(self) -> None:
        """End `run` after its current commit; a cancelled commit may or may not have happened."""
        self._is_stopped = True

    async def commit(self, rows: int) -> None:
        numbers = range(self.number + 1, self.number + rows + 1)
        now = time.monotonic_ns()
        await self._connection.execute(_INSERT, [signature(now, number) for number in numbers])
        self.number += rows


def signature(sent_ns: int, number: int) -> str:
    """Return the signature of a row, as long as one in base58, with the moment and the row's number in it."""
    return f"{_PREFIX}{sent_ns:019d}N{number:012d}".ljust(88, "S")
