"""Format intents, as text and as JSON, for the commands that print them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from zmart.printable import printable

if TYPE_CHECKING:
    from zmart.store.intents import IntentRow
    from zmart.store.pool import Pool


def line_of(row: IntentRow) -> str:
    """Format an intent as one line: id, time, action, market, round, state, signature and error."""
    what = f"{row.id}  {row.created_at:%Y-%m-%d %H:%M:%S}  {row.action.value} of {row.market_id} round {row.round}"
    state = row.state.value if not row.landed_slot else f"{row.state.value} in slot {row.landed_slot}"
    signed = f" {row.signature}" if row.signature else ""
    error = f" ({row.error_name or row.error})" if row.error_name or row.error else ""
    return printable(f"{what}: {state}{signed}{error}")


def plain(row: IntentRow) -> dict[str, object]:
    """Return an intent's fields as values for JSON, without the bytes of its transaction."""
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(row)
    del fields["raw_transaction"]
    return fields


def json_of(value: object) -> str:
    """Encode a value as JSON text."""
    import msgspec

    return msgspec.json.encode(value).decode()


def with_pool(work: Callable[[Pool], Awaitable[None]]) -> None:
    """Run `work` with a pool for DATABASE_URL, or the local stack's database. Raises ConfigError, StoreError."""
    from zmart.local.addresses import database_url
    from zmart.store.pool import Pool

    async def run() -> None:
        pool = await Pool.open(database_url(), size=2)
        try:
            await work(pool)
        finally:
            await pool.close()

    asyncio.run(run())
