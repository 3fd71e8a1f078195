"""List the program's transactions, newest first, in pages that are checked.

A list ends with an empty page and nowhere else: nodes return short pages where one of their stores ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.errors import ChainError
from zmart.market.types import Address, Signature, Slot

PAGE = 1000


class Pace:
    """Limit the calls per second to a provider; 0: no limit."""

    def __init__(self, per_second: float) -> None:
        self._between_s = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next call is allowed."""
        now = time.monotonic()
        self._next = max(self._next, now) + self._between_s
        if (wait_s := self._next - self._between_s - now) > 0:
            await asyncio.sleep(wait_s)


async def pages(
    rpc: Rpc,
    program: Address,
    pace: Pace,
    *,
    floor: Slot,
    until: Signature | None = None,
    before: Signature | None = None,
    since: Slot | None = None,
) -> AsyncIterator[list[SignatureInfo]]:
    """Yield pages down to `until` or below slot `floor`, from nodes that have reached slot `since`.

    Raises ChainError when a page repeats itself or the one before: the list is not complete then, and must be
    requested again.
    """
    last: SignatureInfo | None = None
    while True:
        await pace.turn()
        page = await rpc.get_signatures_for_address(
            program, before=before, until=until, limit=PAGE, since=since
        )
        if not page:
            return
        _check(page, last)
        yield [info for info in page if info.slot >= floor]
        last = page[-1]
        if last.slot < floor:
            return
        before = last.signature


def _check(page: list[SignatureInfo], last: SignatureInfo | None) -> None:
    names = {info.signature for info in page}
    if len(names) < len(page) or (last and last.signature in names):
        raise ChainError("The RPC lists a transaction of the program twice; its list cannot be trusted.")


def backwards(page: Sequence[SignatureInfo]) -> tuple[Slot, Slot] | None:
    """Return the slots of two neighbours, in a list from new to old, of which the newer is lower. No cluster does
    that; a local chain does when its clock is moved."""
    for newer, older in pairwise(page):
        if newer.slot < older.slot:
            return older.slot, newer.slot
    return None
