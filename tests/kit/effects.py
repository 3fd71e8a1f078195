"""Effects that happened more than once, as the chain's events and the intents say."""

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
    """The market, what was done, and how often; empty when each effect happened once."""
    database = await asyncpg.connect(database_url)
    try:
        return [*await database.fetch(_EVENTS_TWICE), *await database.fetch(_LANDED_TWICE)]
    finally:
        await database.close()
