"""The fetcher: transactions that were only named are read by RPC and put into their inbox rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from zmart.chain.json_rpc import TransientRpcError
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Slot
from zmart.services.indexer.bell import Bell
from zmart.services.indexer.listing import Pace
from zmart.store import inbox
from zmart.store.inbox import Failure, Wanted
from zmart.store.pool import Pool, is_away

_AT_ONCE = 16
_TAKEN = 64
_REST_S = 2.0
log = structlog.get_logger()


class _Placed(msgspec.Struct):
    slot: int


class _Away(msgspec.Struct, frozen=True):
    """The RPC did not answer, which is not the transaction's fault."""

    reason: str


_Outcome = tuple[int, bytes, Slot] | Failure | _Away


class Fetcher:
    """`turn()` fetches some; `run(bell)` does so whenever there are any."""

    def __init__(self, pool: Pool, rpc: Rpc, pace: Pace, timeout_s: float) -> None:
        self._pace = pace
        self._pool = pool
        self._rpc = rpc
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def run(self, bell: Bell) -> None:
        while not bell.stopped:
            bell.clear()
            try:
                if await self.turn():
                    continue
                pause_s = await inbox.next_due_s(self._pool, has_payload=False)
            except Exception as error:
                if not is_away(error):
                    raise
                pause_s = 1.0
            await bell.wait(pause_s)

    async def turn(self) -> int:
        """Returns how many were tried. A lease keeps others off them, and gives them back after a crash."""
        wanted = await inbox.take_to_fetch(self._pool, _TAKEN, lease_s=self._timeout_s + 5)
        if not wanted:
            return 0
        outcomes = await asyncio.gather(*(self._fetch(row) for row in wanted))
        await inbox.fetched(self._pool, [o for o in outcomes if isinstance(o, tuple)])
        await inbox.failed(self._pool, [o for o in outcomes if isinstance(o, Failure)])
        await self._rest(wanted, outcomes)
        return len(wanted)

    async def _rest(self, wanted: Sequence[Wanted], outcomes: Sequence[_Outcome]) -> None:
        away = [(row.id, o.reason) for row, o in zip(wanted, outcomes, strict=True) if isinstance(o, _Away)]
        if away:
            log.warning("rpc away", transactions=len(away), reason=away[0][1])
            await inbox.postpone(self._pool, [row_id for row_id, _ in away], _REST_S)

    async def _fetch(self, row: Wanted) -> _Outcome:
        async with self._gate:
            await self._pace.turn()
            try:
                async with asyncio.timeout(self._timeout_s):
                    raw = await self._rpc.get_transaction_json(row.signature)
                if raw is None:
                    return Failure(
                        id=row.id, error="The RPC does not know this transaction (yet).", nowhere=True
                    )
                return row.id, raw, Slot(msgspec.json.decode(raw, type=_Placed).slot)
            except (TransientRpcError, TimeoutError) as error:
                return _Away(str(error) or type(error).__name__)
            except (ChainError, msgspec.MsgspecError) as error:
                return Failure(id=row.id, error=f"The RPC's answer cannot be used: {error}")
