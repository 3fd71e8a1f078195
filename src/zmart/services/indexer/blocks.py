"""Read the positions of transactions in their blocks by RPC, and cache them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot

_CACHED_BLOCKS = 4096
_AT_ONCE = 16


class Unplaced(msgspec.Struct, frozen=True):
    """Why the position of a transaction in its block is unknown.

    `is_elsewhere` is true if the block was read and does not hold the transaction, false if it cannot be read now.
    `is_outage`: no endpoint gave a usable answer.
    """

    reason: str
    is_elsewhere: bool = False
    is_outage: bool = False


class Blocks:
    """Read blocks, 16 at once, and cache positions.

    `positions` maps a slot to the index in its block of each requested transaction, by signature. It holds at least
    4,096 slots, and those of two batches of `batch_size` transactions: a batch that is written and the next one.
    """

    def __init__(self, rpc: Rpc, batch_size: int) -> None:
        self._rpc = rpc
        self._most = max(_CACHED_BLOCKS, 2 * batch_size)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.positions: OrderedDict[Slot, dict[Signature, int]] = OrderedDict()

    async def read(self, requested: Mapping[Slot, set[Signature]]) -> dict[Signature, Unplaced]:
        """Read the blocks of these slots and cache the positions of the requested signatures.

        Return the signatures whose position is still unknown, with the reason. A transaction that its block does not
        hold does not delay the others of that block.
        """
        results = await asyncio.gather(*(self._one(slot, names) for slot, names in requested.items()))
        while len(self.positions) > self._most:
            self.positions.popitem(last=False)
        return {signature: problem for problems in results for signature, problem in problems.items()}

    async def _one(self, slot: Slot, requested: set[Signature]) -> dict[Signature, Unplaced]:
        async with self._gate:
            try:
                signatures = await self._rpc.get_block_signatures(slot)
            except ChainError as error:
                reason = f"The block of slot {slot} cannot be read: {error}"
                unread = Unplaced(reason, is_outage=isinstance(error, TransientRpcError))
                return dict.fromkeys(requested, unread)
        if signatures is None:
            problem = Unplaced(f"The node has no block of slot {slot} (yet, or any more).")
            return dict.fromkeys(requested, problem)
        positions = {s: position for position, s in enumerate(signatures) if s in requested}
        self.positions[slot] = {**self.positions.get(slot, {}), **positions}
        problem = Unplaced(f"The block of slot {slot} does not hold this transaction.", is_elsewhere=True)
        return dict.fromkeys(requested - positions.keys(), problem)
