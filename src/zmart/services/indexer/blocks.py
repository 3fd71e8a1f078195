"""Places of transactions in their blocks, asked for once and kept a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot

_KEPT = 4096
_AT_ONCE = 16


class Unplaced(msgspec.Struct, frozen=True):
    """Why a transaction has no place: the block that it names cannot be read for now, or can and does not hold it."""

    reason: str
    is_elsewhere: bool = False


class Blocks:
    """`places` by slot, of the transactions that were asked for."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.places: OrderedDict[Slot, dict[Signature, int]] = OrderedDict()

    async def read(self, wanted: Mapping[Slot, set[Signature]]) -> dict[Signature, Unplaced]:
        """Ask for blocks; returns the transactions whose place cannot be known now, and why. One that only claims to be
        in a block holds up nobody who is."""
        told = await asyncio.gather(*(self._one(slot, names) for slot, names in wanted.items()))
        while len(self.places) > _KEPT:
            self.places.popitem(last=False)
        return {signature: problem for problems in told for signature, problem in problems.items()}

    async def _one(self, slot: Slot, wanted: set[Signature]) -> dict[Signature, Unplaced]:
        async with self._gate:
            try:
                signatures = await self._rpc.get_block_signatures(slot)
            except ChainError as error:
                return dict.fromkeys(wanted, Unplaced(f"The block of slot {slot} cannot be read: {error}"))
        if signatures is None:
            problem = Unplaced(f"The node has no block of slot {slot} (yet, or any more).")
            return dict.fromkeys(wanted, problem)
        found = {s: place for place, s in enumerate(signatures) if s in wanted}
        self.places[slot] = {**self.places.get(slot, {}), **found}
        problem = Unplaced(f"The block of slot {slot} does not hold this transaction.", is_elsewhere=True)
        return dict.fromkeys(wanted - found.keys(), problem)
