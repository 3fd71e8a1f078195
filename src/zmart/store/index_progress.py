"""How far the index is complete: one row, and the lock under which the projections are written."""

from __future__ import annotations

import msgspec

from zmart.errors import ConfigError
from zmart.market.types import Address, ChainTime, Slot
from zmart.store.pool import Connection, Pool

_WRITER_LOCK = 0x7A6D666F6C64

_CLAIM = """
INSERT INTO index_progress (program_id, genesis_hash) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING
"""
_HAS_PROGRESS = "SELECT to_regclass('index_progress') IS NOT NULL"
_GENESIS = "SELECT genesis_hash FROM index_progress"
_READ = """
SELECT program_id, genesis_hash, start_slot, gap_free_through_slot, gap_free_through_time, listed_through_slot,
    tip_slot, final_slot, extract(epoch FROM now() - scanned_at)::float8 AS scan_age_s
FROM index_progress
"""
_GAP_FREE = "SELECT gap_free_through_slot FROM index_progress"
# A plan is made for a table as it is then; these tables grow from nothing to millions of rows while it is kept.
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1) FROM set_config('enable_seqscan', 'off', true)"
_LOCK = "SELECT pg_advisory_xact_lock($1)"
_LISTED = """
UPDATE index_progress
SET listed_through_slot = GREATEST(listed_through_slot, $1), tip_slot = $2, scanned_at = now()
"""
# One look at the Clock is kept until the gap-free slot has passed it; only then the next one takes its place.
_FINALIZED = """
UPDATE index_progress SET final_slot = GREATEST(final_slot, $1), final_time = GREATEST(final_time, $3),
    clock_slot = CASE WHEN clock_slot > gap_free_through_slot THEN clock_slot ELSE $2 END,
    clock_time = CASE WHEN clock_slot > gap_free_through_slot THEN clock_time ELSE $3 END
"""
# Behind the slot through which the listing is complete and final, a hint that it does not name holds nothing up.
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
    """Slots of the chain. Through `listed_through_slot` every transaction is known, through
    `gap_free_through_slot` each is folded and can never leave the chain. The same holds of everything that the
    program stamped with a chain time of at most `gap_free_through_time`. `scan_age_s` is None before the first
    scan ended."""

    program_id: Address
    genesis_hash: str
    start_slot: Slot
    gap_free_through_slot: Slot
    gap_free_through_time: ChainTime
    listed_through_slot: Slot
    tip_slot: Slot
    final_slot: Slot
    scan_age_s: float | None


async def claim(pool: Pool, program_id: Address, genesis_hash: str) -> IndexProgress:
    """The row, made if this database is new. Raises ConfigError when it belongs to another program or chain."""
    await pool.execute(_CLAIM, program_id, genesis_hash)
    found = await of_program(pool, program_id)
    assert found is not None
    if found.genesis_hash != genesis_hash:
        raise ConfigError(
            f"This database is an index of the chain with genesis {found.genesis_hash}, the RPC's is "
            f"{genesis_hash}: check SOLANA_RPC_URL, or use another DATABASE_URL."
        )
    return found


async def recorded_genesis(database_url: str) -> str | None:
    """Of which chain the database is an index; None before an indexer has ever run there, or without our tables.
    Raises StoreError when the database cannot say."""
    pool = await Pool.open(database_url, 1)
    try:
        if not await pool.fetchval(_HAS_PROGRESS):
            return None
        genesis: str | None = await pool.fetchval(_GENESIS)
        return genesis
    finally:
        await pool.close()


async def read(pool: Pool | Connection) -> IndexProgress | None:
    """None before an indexer has ever run here."""
    row = await pool.fetchrow(_READ)
    return IndexProgress(**row) if row else None


async def gap_free_slot(connection: Connection) -> Slot:
    """The slot through which the index is complete; -1 before an indexer has ever run here."""
    slot: int | None = await connection.fetchval(_GAP_FREE)
    return Slot(-1 if slot is None else slot)


async def of_program(pool: Pool | Connection, program_id: Address) -> IndexProgress | None:
    """As `read`. Raises ConfigError when the database belongs to another program."""
    found = await read(pool)
    if found is not None and found.program_id != program_id:
        raise ConfigError(
            f"This database is an index of the program {found.program_id}, not of {program_id}: "
            "check SOLANA_PROGRAM_ID_CORE, or use another DATABASE_URL."
        )
    return found


async def try_lock_writer(connection: Connection) -> bool:
    """Take the right to write projections until the transaction ends, if nobody has it.

    One writer at a time, because the order inside a slot, the config in force and claims that wait for their
    market reach across markets; and every commit queues for the change feed's head anyway.
    """
    locked: bool = await connection.fetchval(_TRY_LOCK, _WRITER_LOCK)
    return locked


async def lock_writer(connection: Connection) -> None:
    """The same, waiting for it."""
    await connection.execute(_LOCK, _WRITER_LOCK)


async def listed(pool: Pool, final: Slot, tip: Slot) -> None:
    """Every transaction up to `final`, a slot that was finalized before it was listed, has been put into the inbox;
    `tip` was the newest slot then."""
    await pool.execute(_LISTED, final, tip)


async def finalized(pool: Pool, slot: Slot, clock_slot: Slot, clock_time: ChainTime) -> None:
    """The chain's newest finalized slot, and what the finalized Clock sysvar says (its own slot and time)."""
    await pool.execute(_FINALIZED, slot, clock_slot, clock_time)


async def advance(connection: Connection | Pool) -> None:
    """Move the gap-free slot up to what is listed, settled and final: dead letters are gaps too."""
    await connection.execute(_ADVANCE)
