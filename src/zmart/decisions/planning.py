"""Plan effects: store the intent that records a tally on chain, before a transaction is signed."""

from __future__ import annotations

from zmart.market.types import VoteKind
from zmart.store import intents
from zmart.store.intents import Action, IntentRow
from zmart.store.pool import Connection, Pool
from zmart.store.tallies import TallyRow
from zmart.votes.tallying import memo_of

ACTION_OF_TALLY = {
    VoteKind.PROPOSAL: Action.AGGREGATE_PROPOSAL_VOTES,
    VoteKind.DISPUTE: Action.FINALIZE_MARKET,
}
"""The action whose instruction records the counts of each kind of vote on chain."""


async def plan_tally(db: Pool | Connection, row: TallyRow) -> IntentRow:
    """Return the intent that records a tally and its log's root on chain; it is stored now unless it was before."""
    arguments: dict[str, int | str] = {
        "votes_for": row.tally.votes_for,
        "votes_against": row.tally.votes_against,
        "memo": memo_of(row),
    }
    return await intents.plan(db, row.market_id, ACTION_OF_TALLY[row.kind], row.round, arguments)


async def intent_of_tally(db: Pool | Connection, row: TallyRow) -> IntentRow | None:
    """Return the intent that was planned for a tally; None if there is none yet."""
    return await intents.of_round(db, row.market_id, ACTION_OF_TALLY[row.kind], row.round)
