"""Compare the decisions about markets with their last tallies: whether each decision follows from its counts."""

from __future__ import annotations

import msgspec

from zmart.market.types import VoteKind
from zmart.store.pool import Connection, Pool

# The verdict is computed again from the counts, so that a wrong stored `passed` is detected.
_ACCURACY = """
WITH newest AS (
    SELECT DISTINCT ON (market_id, kind) market_id, kind,
        votes_for + votes_against >= greatest(min_votes, 1)
            AND votes_for * 10000 / greatest(votes_for + votes_against, 1) >= threshold_bps AS passes
    FROM tallies WHERE taken_at > now() - make_interval(days => $1) ORDER BY market_id, kind, round DESC
)
SELECT n.kind, count(*) FILTER (WHERE d.is_correct) AS correct, count(*) FILTER (WHERE NOT d.is_correct) AS wrong
FROM newest n JOIN markets m USING (market_id)
LEFT JOIN market_work w ON w.market_id = n.market_id AND w.job = 'proposal'
CROSS JOIN LATERAL (SELECT CASE
    WHEN n.kind = 'proposal' AND m.approved_at IS NOT NULL THEN n.passes
    WHEN n.kind = 'proposal' AND w.status = 'rejected' THEN NOT n.passes
    WHEN n.kind = 'dispute' AND m.state = 'FINALIZED' THEN n.passes = (m.final_outcome <> m.proposed_outcome)
END AS is_correct) AS d
WHERE d.is_correct IS NOT NULL GROUP BY n.kind
"""


class DecisionAccuracy(msgspec.Struct, frozen=True):
    """The accuracy of the decisions about one kind of vote. `correct`: the number of decided votes whose decision
    follows from the counts and threshold of the last tally; `wrong`: the number of all others."""

    kind: VoteKind
    correct: int
    wrong: int


async def accuracy(db: Pool | Connection, days: int) -> list[DecisionAccuracy]:
    """Return the accuracy for each kind of vote. Only votes that were tallied within the last `days` days and are
    decided are counted."""
    rows = {VoteKind(row["kind"]): row for row in await db.fetch(_ACCURACY, days)}
    return [
        DecisionAccuracy(kind, rows[kind]["correct"], rows[kind]["wrong"])
        if kind in rows
        else DecisionAccuracy(kind, 0, 0)
        for kind in VoteKind
    ]
