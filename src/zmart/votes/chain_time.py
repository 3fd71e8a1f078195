"""Read the chain's time that decides whether the vote on a dispute has ended; an outdated time is never used."""

from __future__ import annotations

from zmart.errors import ChainError
from zmart.market.types import ChainTime
from zmart.store import index_progress
from zmart.store.pool import Pool
from zmart.votes.command import AcceptancePolicy

INDEXER_RUNS_S = 30
"""An indexer that has scanned the chain within this many seconds runs, so its stored clock is up to date."""


async def chain_time(pool: Pool, policy: AcceptancePolicy) -> ChainTime | None:
    """Return the chain's time as the RPC reports it; None if the clock that the indexer stored is to be used.

    The stored clock is used only while the indexer runs: otherwise it stands still, and votes would be accepted long
    after the end. Raises ChainError when the RPC is unavailable and no indexer runs either.
    """
    try:
        return await policy.chain_time()
    except ChainError as error:
        progress = await index_progress.read(pool)
        if progress is None or progress.scan_age_s is None or progress.scan_age_s > INDEXER_RUNS_S:
            raise ChainError(
                f"Whether this dispute is still voted on cannot be told: the chain's time is not known ({error}). "
                "Try again in a moment."
            ) from error
        return None
