"""Call the HTTP API with typed results.

With asyncio: `async with Client("http://127.0.0.1:4000") as api: await api.markets()`. Without asyncio:
`with SyncClient("http://127.0.0.1:4000") as api: api.markets()`.
"""

from __future__ import annotations

from zmart.client.api import Client, statement_now
from zmart.client.blocking import SyncClient
from zmart.client.transport import ApiError

__all__ = ["ApiError", "Client", "SyncClient", "statement_now"]
