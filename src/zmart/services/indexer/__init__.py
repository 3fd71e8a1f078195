"""Index events: write what the chain reports and fold it into rows."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the service after checking settings, chain and database. Raises ConfigError with one sentence."""
    from zmart.services.indexer.service import Indexer

    return await Indexer.open(settings)
