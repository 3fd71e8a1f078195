"""List the program's transactions, newest first, in pages that are checked.

Only an empty page ends a list: nodes return short pages where one of their stores ends. A node also returns an empty
page if it does not know the transaction before which the list continues, or where the history ends that it keeps. So
that node must have reached its slot, the chain must still have it, and a list of recent transactions must meet older
ones that are known.
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
_TOO_SHORT = (
    "The RPC's list of the program's transactions ends above slot {}, below which there are more: it keeps too little "
    "history. Name an RPC that keeps all of it."
)


class Pace:
    """Limit the calls to an RPC provider to `per_second` calls per second; 0 means no limit."""

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
    continues: bool = False,
) -> AsyncIterator[list[SignatureInfo]]:
    """Yield the program's signatures, newest first, in pages of up to 1,000; a page may be empty.

    The list begins before signature `before` (by default at the tip). It ends before signature `until` or with the last
    signature in slot `floor`, whichever comes first. With `since`, a final slot, only nodes answer that have reached it
    and the slot in which the page before ended. `continues`: the chain has transactions below `floor`, behind `until`.
    Raises ChainError when a page repeats a signature of its own or of the page before, when the last signature of that
    page has left the chain, or when a list that `continues` ends above those: such a list is incomplete and must be
    requested again.
    """
    required = since
    newest: Slot | None = None
    last: SignatureInfo | None = None
    while True:
        await pace.turn()
        page = await rpc.get_signatures_for_address(
            program, before=before, until=until, limit=PAGE, since=required
        )
        if not page:
            if last is not None and since is not None and last.slot > since:
                await _check_known(rpc, last.signature)
            if continues:
                raise ChainError(_TOO_SHORT.format(floor))
            return
        _check(page, last)
        yield [info for info in page if info.slot >= floor]
        newest, last = newest or page[0].slot, page[-1]
        if last.slot < floor:
            return
        before = last.signature
        if since is not None:  # where a local chain's slots went backwards, no node has reached those before
            required = max(since, min(newest, last.slot))


async def _check_known(rpc: Rpc, signature: Signature) -> None:
    statuses = await rpc.get_signature_statuses([signature], search_history=True)
    if statuses.values[0] is None:
        raise ChainError(f"The RPC's list cannot be continued before {signature}: it has left the chain.")


def _check(page: list[SignatureInfo], last: SignatureInfo | None) -> None:
    names = {info.signature for info in page}
    if len(names) < len(page) or (last and last.signature in names):
        raise ChainError("The RPC lists a transaction of the program twice; its list cannot be trusted.")


def backwards(page: Sequence[SignatureInfo]) -> tuple[Slot, Slot] | None:
    """Return the slots, older and newer, of two neighbours in a page whose newer transaction has the lower slot.

    Return None if there are none, which is always so on a cluster. On a local chain a moved clock causes it.
    """
    for newer, older in pairwise(page):
        if newer.slot < older.slot:
            return older.slot, newer.slot
    return None
