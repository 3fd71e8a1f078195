"""Close a vote: fix the moment up to which its votes count.

The closing is written before the index is checked for completeness through that moment. The index is always some
seconds behind, so it would never be complete through a moment that moves with the clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import ChainTime, MarketId, Slot, VoteKind
from zmart.store import tallies, vote_closings, vote_log
from zmart.store.pool import Connection, Pool
from zmart.store.tallies import TallyRow
from zmart.store.vote_closings import VoteClosing


class ClosingMoment(msgspec.Struct, frozen=True, kw_only=True):
    """The moment at which a vote is to be closed.

    Votes on chain count up to the chain time `closed_at`. `slot` is the chain's present slot. `voting_over`: the
    closing is final, and the log accepts no further vote.
    """

    closed_at: ChainTime
    slot: Slot
    voting_over: bool


ChooseMoment = Callable[[Connection], Awaitable[ClosingMoment | None]]
"""Returns the moment at which to close the vote, or None to leave it open; called under the lock of the log."""


async def close_vote(
    pool: Pool, market_id: MarketId, kind: VoteKind, choose: ChooseMoment
) -> VoteClosing | None:
    """Return the vote's closing, written now unless there is one; None if there is none and the vote stays open.

    A closing with `voting_over` is final. A closing without it is replaced only by a closing with it.
    """
    async with pool.transaction() as connection:
        log_size = await vote_log.lock(connection, market_id)
        written = await vote_closings.find(connection, market_id, kind)
        if written is not None and written.voting_over:
            return written
        moment = await choose(connection)
        if moment is None or (written is not None and not moment.voting_over):
            return written
        closing = VoteClosing(
            market_id=market_id,
            kind=kind,
            closed_at=moment.closed_at,
            closed_slot=moment.slot,
            log_size=log_size,
            voting_over=moment.voting_over,
        )
        await vote_closings.write(connection, closing)
    return closing


async def close_by_tally(connection: Connection, row: TallyRow) -> bool:
    """Close the vote finally at the moment of a tally, so that every vote which it does not count is late; return True.

    Return False if the vote has a final closing at another moment, which stays: the tally was overtaken. It locks the
    market's log until the transaction ends.
    """
    await vote_log.lock(connection, row.market_id)
    closing = VoteClosing(
        market_id=row.market_id,
        kind=row.kind,
        closed_at=row.closed_at,
        closed_slot=row.closed_slot,
        log_size=row.log_size,
        voting_over=True,
    )
    return await vote_closings.write_final(connection, closing)


async def close_as_recorded(pool: Pool, market_id: MarketId, counts: Tally) -> None:
    """Close the vote on a proposal that is decided, by its newest tally with the `counts` that the account records.

    An approval or a cancellation by a wallet of the admin's own leaves the vote without a final closing: what came
    after the tally would pass for votes that were in time. Nothing is changed if the vote has a final closing, or no
    tally of ours has these counts.
    """
    closing = await vote_closings.find(pool, market_id, VoteKind.PROPOSAL)
    if closing is not None and closing.voting_over:
        return
    rows = await tallies.of_market(pool, market_id)
    recorded = [row for row in rows if row.kind is VoteKind.PROPOSAL and row.tally == counts]
    if recorded:
        async with pool.transaction() as connection:
            await close_by_tally(connection, recorded[-1])


async def extend_vote(connection: Connection, closing: VoteClosing) -> bool:
    """Let voting continue after a deadline at which there were too few votes, and return True.

    The closing remains, but is no longer final: it shows that the next closing needs another moment than the deadline.
    Return False, and change nothing, if another process has replaced the closing since. The caller holds the lock of
    the market's log.
    """
    return await vote_closings.extend(connection, closing)


async def reopen_vote(pool: Pool, seen: VoteClosing) -> None:
    """Remove the vote's closing, so that voting continues, unless it is another one than `seen` by now.

    Another process may have closed the vote since, with an approval on its way.
    """
    async with pool.transaction() as connection:
        await vote_log.lock(connection, seen.market_id)
        if await vote_closings.find(connection, seen.market_id, seen.kind) == seen:
            await vote_closings.remove(connection, seen.market_id, seen.kind)
