"""Read which indexed transactions are final and which may still leave the chain, and mark those that became final."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from zmart.market.types import Signature, Slot
from zmart.store.pool import Pool

_FIRST_FINAL = """
SELECT signature FROM chain_transactions WHERE slot > $1 AND finality = 'finalized' ORDER BY slot LIMIT 1
"""
_LOWEST_MOVED = """
SELECT min(h.slot) FROM unnest($1::text[], $2::bigint[]) AS h (signature, slot)
JOIN chain_transactions t USING (signature) WHERE h.slot < t.slot AND t.finality = 'confirmed'
"""
_UNFINAL = """
SELECT signature, slot, failed, extract(epoch FROM now() - indexed_at)::float8,
    EXISTS (SELECT FROM unconfirmed_transactions u WHERE (u.slot, u.signature) = (t.slot, t.signature)),
    event_count = 0 AND NOT failed
FROM chain_transactions t
WHERE finality = 'confirmed' AND (slot, signature) > ($1, $2) ORDER BY slot, signature LIMIT $3
"""
# A delivery of a webhook that our own RPC has not confirmed is not final, even if the transaction that it names is.
_FINALIZE = """
UPDATE chain_transactions t SET finality = 'finalized' WHERE signature = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM unconfirmed_transactions u WHERE (u.slot, u.signature) = (t.slot, t.signature))
"""
_NEWEST_BELOW = """
SELECT slot FROM chain_transactions WHERE slot < $1 AND finality = 'finalized' AND event_count > 0
ORDER BY slot DESC LIMIT 1
"""
# The tenth below: should a chain have lost the record of one, as a local chain that was killed may, others remain.
_LAST_FINAL = """
SELECT signature FROM chain_transactions WHERE slot < $1 AND finality = 'finalized'
ORDER BY slot DESC LIMIT 1 OFFSET 9
"""


class UnfinalTransaction(msgspec.Struct, frozen=True):
    """An indexed transaction that is not finalized, so it may still leave the chain. `age_s`: seconds since it was
    indexed. `unconfirmed`: a webhook delivered it, and our own RPC has not shown it yet. `is_empty`: it succeeded and
    has no event."""

    signature: Signature
    slot: Slot
    failed: bool
    age_s: float
    unconfirmed: bool = False
    is_empty: bool = False


class FinalBelow(msgspec.Struct, frozen=True):
    """Final transactions of the index below a slot. `is_listed`: one has events, so the chain's list of the program's
    transactions must contain it. `until`: the tenth in the slots below that, at which a scan from the tip may end
    (`until` of getSignaturesForAddress); None if there are fewer."""

    until: Signature | None
    is_listed: bool


async def unfinal(pool: Pool, after: UnfinalTransaction | None, limit: int) -> list[UnfinalTransaction]:
    """Return up to `limit` transactions that are not known to be finalized, in order of slot and signature. The page
    begins after the transaction `after`, or with the oldest one if None."""
    position = (after.slot, after.signature) if after else (-1, "")
    return [UnfinalTransaction(*row) for row in await pool.fetch(_UNFINAL, *position, limit)]


async def lowest_moved(pool: Pool, listed: Mapping[Signature, Slot]) -> Slot | None:
    """Return the lowest slot in which the chain lists a transaction that is indexed in a higher one and not final: it
    landed there on another fork. Returns None if there is none. `listed` maps signatures to the chain's slots."""
    slot: Slot | None = await pool.fetchval(_LOWEST_MOVED, list(listed.keys()), list(listed.values()))
    return slot


async def finalize(pool: Pool, signatures: Sequence[Signature]) -> int:
    """Mark transactions as finalized, except those that a webhook delivered and our own RPC has not confirmed. Returns
    how many were marked."""
    status = await pool.execute(_FINALIZE, list(signatures))
    return int(status.rpartition(" ")[2])


async def final_below(pool: Pool, slot: Slot) -> FinalBelow:
    """Return what the index has of the chain's final transactions below `slot`."""
    listed: Slot | None = await pool.fetchval(_NEWEST_BELOW, slot)
    until: Signature | None = await pool.fetchval(_LAST_FINAL, slot if listed is None else listed)
    return FinalBelow(until, listed is not None)


async def first_final_after(pool: Pool, slot: Slot) -> Signature | None:
    """Return a finalized transaction in the lowest slot above `slot`; None if there is none. A listing of older
    transactions may start from it (`before` of getSignaturesForAddress)."""
    signature: Signature | None = await pool.fetchval(_FIRST_FINAL, slot)
    return signature
