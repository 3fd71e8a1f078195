"""Places of transactions in their blocks, asked for once and kept a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot

_KEPT = 4096
_AT_ONCE = 16


class Blocks:
    """`places` by slot, of the transactions that were asked for."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.places: OrderedDict[Slot, dict[Signature, int]] = OrderedDict()

    async def read(self, wanted: Mapping[Slot, set[Signature]]) -> dict[Slot, str]:
        """Ask for blocks; returns the slots whose order cannot be known now, and why."""
        said = await asyncio.gather(*(self._one(slot, names) for slot, names in wanted.items()))
        while len(self.places) > _KEPT:
            self.places.popitem(last=False)
        return {slot: reason for slot, reason in zip(wanted, said, strict=True) if reason}

    async def _one(self, slot: Slot, wanted: set[Signature]) -> str:
        async with self._gate:
            try:
                signatures = await self._rpc.get_block_signatures(slot)
            except ChainError as error:
                return f"The block of slot {slot} cannot be read: {error}"
        found = {s: place for place, s in enumerate(signatures or ()) if s in wanted}
        if wanted - found.keys():
            return f"The block of slot {slot} does not hold all transactions that name it."
        self.places[slot] = {**self.places.get(slot, {}), **found}
        return ""
