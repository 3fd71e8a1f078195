"""Index the program's events: store them and fold them into markets, positions, trades and votes."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the indexer after checking the settings, the program on chain and the database.

    Raises ConfigError, ChainError or StoreError, each with one sentence.
    """
    from zmart.services.indexer.service import Indexer

    return await Indexer.open(settings)
