"""The event indexer: what the chain said, written down and folded into rows."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Checks settings, chain and database before anything runs; ConfigError is one sentence."""
    from zmart.services.indexer.service import Indexer

    return await Indexer.open(settings)
