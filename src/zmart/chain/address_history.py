"""List the transactions that name an address, page by page, to the end of what a node lists."""

from __future__ import annotations

from collections.abc import AsyncIterator

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.market.types import Address, Signature

PAGE = 1_000
"""Transactions of one page: the most that getSignaturesForAddress returns."""


async def newest_first(rpc: Rpc, address: Address, most_pages: int) -> AsyncIterator[SignatureInfo | None]:
    """Yield an address's transactions, newest first; yield None last if there are more than `most_pages` pages.

    Only an empty page is the end: nodes return short pages where one of their stores ends. Raises ChainError.
    """
    before: Signature | None = None
    for _ in range(most_pages):
        page = await rpc.get_signatures_for_address(address, before=before, limit=PAGE)
        if not page:
            return
        for entry in page:
            yield entry
        before = page[-1].signature
    yield None
