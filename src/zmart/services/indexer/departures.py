"""Recognize transactions that the chain's listing named and that a fork removed before they were fetched.

A listed transaction counts as existing until the listing, final by then, continues below its slot without naming it
and no endpoint has it. Two checks must find this, since a node may be wrong once. Without this rule the indexer would
request such a transaction permanently, and every decision would wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from zmart.chain import absence
from zmart.chain.rpc import Rpc
from zmart.market.types import Address, Signature, Slot
from zmart.services.indexer.listing import Pace, pages
from zmart.store import chain_finality, index_progress
from zmart.store.inbox import FetchRequest
from zmart.store.pool import Pool

log = structlog.get_logger()


class Departures:
    """Determine whether a listed transaction that the RPC does not have has left the chain."""

    def __init__(self, pool: Pool, witnesses: Sequence[Rpc], program: Address, pace: Pace) -> None:
        self._pool = pool
        self._witnesses = witnesses
        self._program = program
        self._pace = pace
        self._suspects: set[Signature] = set()

    async def left(self, row: FetchRequest) -> bool:
        """Return whether the transaction has left the chain: absent from every endpoint and its list in two calls.

        The two calls for the same transaction must be successive; the first one returns False. Raises ChainError when
        an endpoint cannot be asked or its list is inconsistent.
        """
        if row.slot is None or not await self._is_gone(row.signature, row.slot):
            self._suspects.discard(row.signature)
            return False
        if row.signature not in self._suspects:
            self._suspects.add(row.signature)
            return False
        self._suspects.discard(row.signature)
        log.warning("a listed transaction left the chain before it was read", signature=row.signature)
        return True

    async def _is_gone(self, signature: Signature, slot: Slot) -> bool:
        progress = await index_progress.read(self._pool)
        if progress is None or progress.final_slot < slot + absence.LONG_FINAL_SLOTS:
            return False
        nobody = await absence.unknown(self._witnesses, signature)
        if nobody is None or nobody.final < slot + absence.LONG_FINAL_SLOTS:
            return False
        before = await chain_finality.first_final_after(self._pool, slot)
        return all([await self._passes(rpc, signature, slot, before) for rpc in self._witnesses])

    async def _passes(self, rpc: Rpc, signature: Signature, slot: Slot, before: Signature | None) -> bool:
        """Return whether the list of an endpoint continues below `slot` without naming the transaction."""
        async for page in pages(rpc, self._program, self._pace, floor=Slot(0), before=before):
            if any(info.signature == signature for info in page):
                return False
            if page and page[-1].slot < slot:
                return True
        return False
