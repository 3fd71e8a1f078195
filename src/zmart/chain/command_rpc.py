"""Ask the RPC for a command of an operator, who waits for seconds and not for all retries of a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError
from zmart.settings import Settings

ANSWERS_WITHIN_S = 4.0
_ATTEMPTS = 3


@asynccontextmanager
async def command_rpc(settings: Settings, within_s: float = ANSWERS_WITHIN_S) -> AsyncIterator[Rpc]:
    """Lend a client of all configured RPC URLs to the block, which may take `within_s` seconds.

    Raises ChainError, which says what to do, if none answers in time.
    """
    urls = settings.rpc_urls
    timeout_s = min(settings.rpc_timeout_s, within_s / max(1, len(urls)))
    async with Rpc(urls, timeout_s, _ATTEMPTS, logs_outages=False) as rpc:
        try:
            async with asyncio.timeout(within_s):
                yield rpc
        except TransientRpcError as problem:
            raise ChainError(f"{str(problem).rstrip('.')}: {_advice(settings)}.") from problem
        except TimeoutError:
            raise ChainError(
                f"{rpc.name} did not answer within {within_s:g} s: {_advice(settings)}."
            ) from None


def _advice(settings: Settings) -> str:
    if settings.is_local:
        return "look at `zmart ps` and `zmart logs chain`; `zmart stop` and `zmart up` start it again"
    return "try again, or set SOLANA_RPC_URL to an RPC that answers"
