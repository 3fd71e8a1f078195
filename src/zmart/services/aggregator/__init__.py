"""Aggregate the votes on proposals: count them, record the counts on chain with the log's root, approve proposals."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the aggregator after checking settings, database, chain and keys.

    Raises ConfigError, ChainError or StoreError, each with one sentence.
    """
    from zmart.decisions.context import DecisionContext
    from zmart.services.aggregator.cache import TallyCache
    from zmart.services.aggregator.service import Aggregator

    redis_url = settings.redis_url.get_secret_value()
    context = await DecisionContext.open(settings)
    return Aggregator(settings, context, TallyCache(redis_url) if redis_url else None)
