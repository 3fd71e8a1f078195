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
    """Why transactions of a slot have no place: the block cannot be read for now, or it can, and lacks `foreign` ones
    although they name it."""

    reason: str
    foreign: frozenset[Signature] = frozenset()


class Blocks:
    """`places` by slot, of the transactions that were asked for."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.places: OrderedDict[Slot, dict[Signature, int]] = OrderedDict()

    async def read(self, wanted: Mapping[Slot, set[Signature]]) -> dict[Slot, Unplaced]:
        """Ask for blocks; returns the slots in which not every place can be known now, and why."""
        said = await asyncio.gather(*(self._one(slot, names) for slot, names in wanted.items()))
        while len(self.places) > _KEPT:
            self.places.popitem(last=False)
        return {slot: problem for slot, problem in zip(wanted, said, strict=True) if problem}

    async def _one(self, slot: Slot, wanted: set[Signature]) -> Unplaced | None:
        async with self._gate:
            try:
                signatures = await self._rpc.get_block_signatures(slot)
            except ChainError as error:
                return Unplaced(f"The block of slot {slot} cannot be read: {error}")
        if signatures is None:
            return Unplaced(f"The node has no block of slot {slot} (yet, or any more).")
        found = {s: place for place, s in enumerate(signatures) if s in wanted}
        self.places[slot] = {**self.places.get(slot, {}), **found}
        if foreign := frozenset(wanted - found.keys()):
            return Unplaced(f"The block of slot {slot} does not hold all transactions that name it.", foreign)
        return None
