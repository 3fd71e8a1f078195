"""Serve the HTTP API (docs/api.md): reads from the index, transactions for wallets to sign, votes, comments, pages."""

from __future__ import annotations

from zmart.services.contract import Service
from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Open the gateway's connections and return its service. Raises ConfigError for a wrong or missing setting,
    StoreError while the database is unavailable."""
    from zmart.services.gateway.service import open_gateway

    return await open_gateway(settings)
