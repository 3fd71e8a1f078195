"""Alert while answers of an RPC endpoint are refused (chain/endpoint_guard.py)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.store import alerts
from zmart.store.pool import Pool


async def report_refused(pool: Pool, rpcs: Iterable[Rpc], service: str) -> None:
    """Raise the alert of `service` while answers of an RPC endpoint are refused, and resolve it when none are.

    First each endpoint whose last check is some time ago is asked which chain it belongs to, including endpoints that
    are rarely used otherwise.
    """
    refusals: dict[str, str] = {}
    for rpc in rpcs:
        with suppress(ChainError):
            await rpc.check_chain(now=False)
        refusals |= rpc.refusals()
    key = f"rpc-refused:{service}"
    if not refusals:
        await alerts.resolve_alert(pool, key)
        return
    text = f"Answers of an RPC endpoint are refused and not used: {'; '.join(refusals.values())}."
    await alerts.raise_alert(pool, key, "critical", text)
