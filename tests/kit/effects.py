"""Find effects on chain that happened more than once, by the stored events and the intents."""

from __future__ import annotations

import asyncpg

_EVENTS_TWICE = """
SELECT market_id, name, count(*) FROM chain_events
WHERE name IN ('ProposalApproved', 'MarketFinalized', 'MarketCancelled', 'DisputeAggregated')
GROUP BY market_id, name HAVING count(*) > 1
"""
_LANDED_TWICE = """
SELECT market_id, action, round, count(*) FROM intents WHERE state = 'landed'
GROUP BY market_id, action, round HAVING count(*) > 1
"""


async def done_twice(database_url: str) -> list[asyncpg.Record]:
    """Return a row for each effect that happened more than once; an empty list when none did.

    A row has the market, the event's name or the intent's action and round, and the count.
    """
    database = await asyncpg.connect(database_url)
    try:
        return [*await database.fetch(_EVENTS_TWICE), *await database.fetch(_LANDED_TWICE)]
    finally:
        await database.close()
