"""Pin daily IPFS snapshots of each market's comments and votes, for anyone to verify."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the snapshot service, connected to PostgreSQL. Raises ConfigError or StoreError."""
    from zmart.services.snapshots.service import SnapshotService

    return await SnapshotService.open(settings)
