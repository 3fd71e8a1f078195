"""The WebSocket server: every committed change reaches its subscribers, in commit order, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.services.contract import Service
    from zmart.settings import Settings


async def create(settings: Settings) -> Service:
    """The service, connected to PostgreSQL. Raises ConfigError or StoreError."""
    from zmart.services.websocket.service import WebSocketService

    return await WebSocketService.open(settings)
