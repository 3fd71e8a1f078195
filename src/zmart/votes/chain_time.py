"""Read the time by which the end of a dispute's vote is judged: the chain's, and never an old one."""

from __future__ import annotations

from zmart.errors import ChainError
from zmart.market.types import ChainTime
from zmart.store import index_progress
from zmart.store.pool import Pool
from zmart.votes.command import AcceptancePolicy

INDEXER_RUNS_S = 30
"""An indexer that scanned the chain within this time also keeps its clock."""


async def chain_time(pool: Pool, policy: AcceptancePolicy) -> ChainTime | None:
    """Return the chain's time by the RPC; None where the indexer's own is as good.

    The indexer's clock stands still when the indexer does, and would let votes in long after the end. Raises ChainError
    when the RPC is unavailable and the indexer does not run either.
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
