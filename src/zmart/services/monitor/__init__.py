"""The market monitor: finalizes markets when their time is over, and reports those that are stuck."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Checks settings, database, chain and keys; raises ConfigError with one sentence."""
    from zmart.decisions.context import Authority
    from zmart.services.monitor.service import Monitor

    return Monitor(settings, await Authority.open(settings))
