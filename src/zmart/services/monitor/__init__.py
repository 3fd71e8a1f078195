"""Finalize markets when their time is over, and report markets that are stuck."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the monitor after checking settings, database, chain and keys.

    Raises ConfigError, ChainError or StoreError, each with one sentence.
    """
    from zmart.decisions.context import DecisionContext
    from zmart.services.monitor.service import Monitor

    return Monitor(settings, await DecisionContext.open(settings))
