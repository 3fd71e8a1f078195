"""List the transactions that name an address, page by page, to the end of what a node lists."""

from __future__ import annotations

from collections.abc import AsyncIterator

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.market.types import Address, Signature, Slot

PAGE = 1_000
"""Transactions of one page: the most that getSignaturesForAddress returns."""


async def newest_first(
    rpc: Rpc,
    address: Address,
    most_pages: int,
    since: Slot | None = None,
    before: Signature | None = None,
) -> AsyncIterator[SignatureInfo | None]:
    """Yield an address's transactions, newest first; yield None last if there are more than `most_pages` pages.

    With `before` only those before that transaction are listed; a node that does not know it lists nothing. Every page
    comes from a node that has reached slot `since`, if given. Only an empty page is the end: nodes return
    short pages where one of their stores ends. Raises ChainError, also for an RPC that ignores `since`.
    """
    if since is not None:
        await rpc.check_lists(address)
    for _ in range(most_pages):
        page = await rpc.get_signatures_for_address(address, before=before, limit=PAGE, since=since)
        if not page:
            if since is not None:
                await rpc.check_lists(address)  # another endpoint may have listed the pages
            return
        # Many nodes may answer at one address. One that has not reached these transactions does not know `before` and
        # would return an empty page.
        since = max(since or page[0].slot, page[0].slot)
        for entry in page:
            yield entry
        before = page[-1].signature
    yield None
