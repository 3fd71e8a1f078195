"""Serve the live feed over WebSockets: every committed change reaches its subscribers once, in commit order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.services.contract import Service
    from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """Return the service after reading the feed from PostgreSQL and Redis. Raises ConfigError or StoreError."""
    from zmart.services.websocket.service import WebSocketService

    return await WebSocketService.open(settings)
