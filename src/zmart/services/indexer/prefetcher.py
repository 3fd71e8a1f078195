"""Prepare the next batch while the database writes the present one: read rows, decode them, recover lost events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError, DecodeError
from zmart.market.types import Signature, Slot
from zmart.services.indexer import batch as batches
from zmart.services.indexer import metrics
from zmart.services.indexer.batch import Batch
from zmart.services.indexer.blocks import Blocks
from zmart.services.indexer.recovery import Recovery, Unrecoverable
from zmart.store import chain_events, inbox
from zmart.store.inbox import InboxFailure
from zmart.store.pool import Pool

MOST_BYTES = 8_000_000
_RECOVERED_AT_ONCE = 8
log = structlog.get_logger()


class Prefetcher:
    """Read and decode the next batch of the inbox while the database writes the one before.

    It holds no lock: a batch may be outdated when it is written, so the writer checks it.
    """

    def __init__(
        self, pool: Pool, rpc: Rpc, program: Program, blocks: Blocks, *, trusting: bool = False
    ) -> None:
        self._pool = pool
        self._program = program
        self._trusting = trusting
        self._blocks = blocks
        self._recovery = Recovery(rpc, program)
        self._gate = asyncio.Semaphore(_RECOVERED_AT_ONCE)

    async def batch(self, limit: int, without: Sequence[int] = ()) -> Batch:
        """Return the next inbox rows, decoded: at most `limit` rows or MOST_BYTES of payloads, except `without`.

        The batch is empty when no row is ready.
        """
        rows = await inbox.ready(self._pool, limit, MOST_BYTES, without)
        batch = await batches.read(self._program, rows, trusting=self._trusting)
        if batch.truncated:
            await asyncio.gather(*(self._recover(batch, signature) for signature in batch.truncated))
            await inbox.defer(self._pool, batch.deferred, "; ".join(batch.reasons))
        await self._read_blocks(batch)
        return batch

    async def _recover(self, batch: Batch, signature: Signature) -> None:
        truncated = batch.truncated[signature]
        try:
            async with self._gate:
                lost = await self._recovery.events(truncated.transaction, truncated.extracted)
        except TransientRpcError as error:
            batch.deferred.append(batch.leave_out(signature))
            batch.reasons.add(f"Its log is truncated and the accounts cannot be read: {error}")
            return
        except (ChainError, DecodeError) as error:
            row_id, permanent = batch.leave_out(signature), isinstance(error, Unrecoverable)
            reason = f"Its log is truncated and its events cannot be recovered: {error}"
            batch.failures.append(InboxFailure(id=row_id, error=reason, permanent=permanent))
            return
        batch.transactions = [
            t.with_recovered(lost) if t.row.signature == signature else t for t in batch.transactions
        ]
        metrics.RECOVERED.inc(len(lost))
        log.warning("events of a truncated log recovered", signature=signature, events=len(lost))

    async def _read_blocks(self, batch: Batch) -> None:
        """Read the blocks whose order the writer will probably need; the writer reads any others itself."""
        slots: set[Slot] = {
            t.row.slot for t in batch.transactions if t.events and t.row.index_in_block is None
        }
        if not slots:
            return
        neighbours = await chain_events.neighbours(self._pool, slots)
        missing = batches.order(batch.transactions, neighbours, self._blocks.positions).missing
        await self._blocks.read(missing)
