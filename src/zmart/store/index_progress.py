"""Store how far the index is complete, in one row, and take the lock under which projections are written."""

from __future__ import annotations

import msgspec

from zmart.errors import ConfigError
from zmart.market.types import Address, ChainTime, Slot
from zmart.store import session_locks
from zmart.store.pool import Connection, Pool

_WRITER_LOCK = 0x7A6D666F6C64

_CLAIM = """
INSERT INTO index_progress (program_id, genesis_hash) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING
"""
_HAS_PROGRESS = "SELECT to_regclass('index_progress') IS NOT NULL"
_GENESIS = "SELECT genesis_hash FROM index_progress"
_READ = """
SELECT program_id, genesis_hash, start_slot, gap_free_through_slot, gap_free_through_time, listed_through_slot,
    tip_slot, final_slot, final_time, extract(epoch FROM now() - scanned_at)::float8 AS scan_age_s
FROM index_progress
"""
_GAP_FREE = "SELECT gap_free_through_slot FROM index_progress"
# A cached plan was made for the tables as they were then. They grow from nothing to millions of rows meanwhile, so
# plans without sequential scans are required from the beginning.
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1) FROM set_config('enable_seqscan', 'off', true)"
_LOCK = "SELECT pg_advisory_xact_lock($1)"
_LISTED = """
UPDATE index_progress
SET listed_through_slot = GREATEST(listed_through_slot, $1), tip_slot = $2, scanned_at = now()
"""
# One reading of the Clock is kept until the gap-free slot has reached its slot; only then the next one replaces it.
_FINALIZED = """
UPDATE index_progress SET final_slot = GREATEST(final_slot, $1), final_time = GREATEST(final_time, $3),
    clock_slot = CASE WHEN clock_slot > gap_free_through_slot THEN clock_slot ELSE $2 END,
    clock_time = CASE WHEN clock_slot > gap_free_through_slot THEN clock_time ELSE $3 END
"""
# Through listed_through_slot the listing is complete and final: a hint in these slots that the listing does not name is
# ignored.
_ADVANCE = """
WITH open AS (
    SELECT LEAST((SELECT min(slot) FROM inbox WHERE state IN ('pending', 'dead')
                     AND (listed OR slot > (SELECT listed_through_slot FROM index_progress))),
                 (SELECT min(listed_slot) FROM unconfirmed_transactions WHERE listed_slot IS NOT NULL),
                 (SELECT min(slot) FROM chain_transactions WHERE finality = 'confirmed')) AS slot
), through AS (
    SELECT GREATEST(gap_free_through_slot, LEAST(listed_through_slot, open.slot - 1)) AS slot FROM index_progress, open
)
UPDATE index_progress SET gap_free_through_slot = through.slot, gap_free_through_time = GREATEST(
    gap_free_through_time, CASE WHEN clock_slot <= through.slot THEN clock_time - 1 ELSE 0 END)
FROM through
WHERE gap_free_through_slot <> through.slot OR (clock_slot <= through.slot AND gap_free_through_time < clock_time - 1)
"""


class IndexProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the index is complete.

    The index begins at `start_slot`. Through `listed_through_slot` every transaction is known. Through
    `gap_free_through_slot` every transaction is indexed and finalized; so is every event with a chain time of at most
    `gap_free_through_time` (Unix seconds).
    `tip_slot` is the newest confirmed slot at the last scan; `final_slot` is the newest finalized slot, and
    `final_time` its Clock's time. `scan_age_s`: seconds since the last scan ended; None before the first.
    """

    program_id: Address
    genesis_hash: str
    start_slot: Slot
    gap_free_through_slot: Slot
    gap_free_through_time: ChainTime
    listed_through_slot: Slot
    tip_slot: Slot
    final_slot: Slot
    final_time: ChainTime | None = None
    scan_age_s: float | None


async def claim(pool: Pool, program_id: Address, genesis_hash: str) -> IndexProgress:
    """Return the index's progress, inserted if there is none. Raises ConfigError when the database is the index of
    another program or chain."""
    await pool.execute(_CLAIM, program_id, genesis_hash)
    progress = await of_program(pool, program_id)
    assert progress is not None
    if progress.genesis_hash != genesis_hash:
        raise ConfigError(
            f"This database is an index of the chain with genesis {progress.genesis_hash}, the RPC's is "
            f"{genesis_hash}: check SOLANA_RPC_URL, or use another DATABASE_URL."
        )
    return progress


async def recorded_genesis(database_url: str) -> str | None:
    """Return the genesis hash of the chain that the database indexes. Returns None before an indexer has ever run on
    the database, or if it has no table of the index. Raises StoreError."""
    pool = await Pool.open(database_url, 1)
    try:
        if not await pool.fetchval(_HAS_PROGRESS):
            return None
        genesis: str | None = await pool.fetchval(_GENESIS)
        return genesis
    finally:
        await pool.close()


async def read(pool: Pool | Connection) -> IndexProgress | None:
    """Return the index's progress; None before an indexer has ever run on this database."""
    row = await pool.fetchrow(_READ)
    return IndexProgress(**row) if row else None


async def gap_free_slot(connection: Connection) -> Slot:
    """Return the slot through which the index is gap-free; -1 before an indexer has ever run on this database."""
    slot: int | None = await connection.fetchval(_GAP_FREE)
    return Slot(-1 if slot is None else slot)


async def of_program(pool: Pool | Connection, program_id: Address) -> IndexProgress | None:
    """Return the index's progress as `read` does. Raises ConfigError when the database is the index of a program other
    than `program_id`."""
    progress = await read(pool)
    if progress is not None and progress.program_id != program_id:
        raise ConfigError(
            f"This database is an index of the program {progress.program_id}, not of {program_id}: "
            "check SOLANA_PROGRAM_ID_CORE, or use another DATABASE_URL."
        )
    return progress


async def try_lock_writer(connection: Connection) -> bool:
    """Take the writer's lock until the transaction ends. Returns False when another session holds it.

    Projections have one writer at a time. The order inside a slot, the config in force and claims that wait for their
    market concern several markets at once; and every commit waits for the lock on the change feed's head anyway.
    Also disables sequential scans for the transaction.
    """
    locked: bool = await connection.fetchval(_TRY_LOCK, _WRITER_LOCK)
    return locked


async def end_silent_writer(connection: Connection, silent_s: float) -> bool:
    """End the session that holds the writer's lock if it has run no statement for `silent_s` seconds. Returns whether a
    session was ended."""
    return await session_locks.end_silent_holder(connection, _WRITER_LOCK, silent_s)


async def lock_writer(connection: Connection) -> None:
    """Take the writer's lock until the transaction ends; wait while another session holds it."""
    await connection.execute(_LOCK, _WRITER_LOCK)


async def listed(pool: Pool, final: Slot, tip: Slot) -> None:
    """Record that a scan stored every transaction through slot `final` in the inbox. When the scan began, `final` was
    finalized, and `tip` was the newest confirmed slot."""
    await pool.execute(_LISTED, final, tip)


async def finalized(pool: Pool, slot: Slot, clock_slot: Slot, clock_time: ChainTime) -> None:
    """Record the chain's newest finalized slot, and the slot and time (Unix seconds) of the finalized Clock sysvar."""
    await pool.execute(_FINALIZED, slot, clock_slot, clock_time)


async def advance(connection: Connection | Pool) -> None:
    """Advance the gap-free slot and time as far as every transaction is listed, indexed and finalized. A dead letter is
    a gap, too."""
    await connection.execute(_ADVANCE)
