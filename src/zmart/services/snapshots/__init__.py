"""IPFS snapshots: what was said about a market and how its votes stand, pinned daily where anybody can check it."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """The service, connected to PostgreSQL. Raises ConfigError or StoreError."""
    from zmart.services.snapshots.service import SnapshotService

    return await SnapshotService.open(settings)
