"""From confirmed to finalized; and what left the chain on the way is taken back."""

from __future__ import annotations

import structlog

from zmart.chain.rpc import Rpc, SignatureStatus
from zmart.errors import ChainError
from zmart.market.types import Signature
from zmart.services.indexer import metrics
from zmart.services.indexer.bell import Bell
from zmart.services.indexer.folding import Folder
from zmart.store import chain_events, inbox, index_progress
from zmart.store.chain_events import Unfinal
from zmart.store.inbox import Hint
from zmart.store.pool import Pool, is_away

_AT_ONCE = 256
log = structlog.get_logger()


class FinalityWatcher:
    """Looks at every transaction once more when the cluster has finalized its slot."""

    def __init__(self, pool: Pool, rpc: Rpc, folder: Folder, interval_s: float) -> None:
        self._pool = pool
        self._rpc = rpc
        self._folder = folder
        self._interval_s = interval_s
        self._suspects: set[Signature] = set()

    async def run(self, bell: Bell) -> None:
        while not bell.stopped:
            try:
                while await self.look() == _AT_ONCE:
                    pass
            except ChainError as error:
                log.warning("finality unknown", error=str(error))
            except Exception as error:
                if not is_away(error):
                    raise
            await bell.wait(self._interval_s)

    async def look(self) -> int:
        """Returns how many became final."""
        finalized = await self._rpc.get_slot("finalized")
        candidates = await chain_events.unfinal(self._pool, finalized, _AT_ONCE)
        if not candidates:
            return 0
        statuses = await self._rpc.get_signature_statuses(
            [c.signature for c in candidates], search_history=True
        )
        pairs = list(zip(candidates, statuses.values, strict=True))
        final = [c.signature for c, status in pairs if c.failed or _is_final(c, status)]
        await chain_events.finalize(self._pool, final)
        await self._judge([c for c, status in pairs if not c.failed and _is_gone(c, status)])
        return len(final)

    async def _judge(self, missing: list[Unfinal]) -> None:
        """A node may lag or be wrong once: only what is missing twice, and cannot be fetched, has left."""
        suspects, self._suspects = self._suspects, {c.signature for c in missing}
        for candidate in missing:
            if candidate.signature not in suspects:
                continue
            raw = await self._rpc.get_transaction_json(candidate.signature)
            await self._take_back(candidate.signature)
            if raw is not None:  # it landed again, in another slot
                await inbox.store(self._pool, "scan", [Hint(candidate.signature, None, None)])

    async def _take_back(self, signature: Signature) -> None:
        async with self._pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            affected = await chain_events.remove(connection, [signature])
            await inbox.forget(connection, [signature])
            markets = affected.markets
            if affected.config:
                await self._folder.refold_config(connection)
                markets = set(await chain_events.market_ids(connection, "", 1_000_000))
            await self._folder.refold(connection, markets)
        metrics.VANISHED.inc()
        log.warning("transaction left the chain", signature=signature, markets=len(affected.markets))


def _is_final(candidate: Unfinal, status: SignatureStatus | None) -> bool:
    return status is not None and status.slot == candidate.slot and status.confirmation_status == "finalized"


def _is_gone(candidate: Unfinal, status: SignatureStatus | None) -> bool:
    return status is None or status.slot != candidate.slot
