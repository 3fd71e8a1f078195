"""Check that the lists of an RPC come from nodes that have reached the requested slot (minContextSlot).

The list of an address does not report its own slot, so a node that lags and ignores minContextSlot cannot be told from
one that has nothing to list: what it has not reached yet would count as absent for good. A list for a slot that no
chain reaches proves that the slot is ignored, and a refusal that it is not.

Only the RPCs of public clusters have many nodes behind one URL. Other chains, such as a local one, have one node, which
cannot lag behind itself: such an RPC may ignore the slot, as a plain Surfpool does.
"""

from __future__ import annotations

import asyncio
import time

from zmart.chain.json_rpc import JsonRpc, decode_answer
from zmart.chain.rpc_answer import LAG_CODES, JsonRpcError
from zmart.chain.slot_bounds import PUBLIC_CLUSTERS
from zmart.errors import ChainError
from zmart.market.types import Address, Slot

UNREACHABLE = Slot(2**40)
"""A slot that no chain reaches: at 10 slots a second it takes 3,000 years."""
_METHOD = "getSignaturesForAddress"
_CHECKED_S = 60.0
"""Seconds until an endpoint is checked again: a load balancer may switch to other nodes."""


class ListCheck:
    """Check the endpoints of one RPC client. Those that do not answer are checked again with the next call."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc
        self._honours: dict[str, float] = {}
        """Endpoints by URL, with the time.monotonic() at which each was checked."""
        self._lock = asyncio.Lock()

    async def require(self, address: Address) -> None:
        """Raise ChainError if an endpoint ignores minContextSlot, or if none has shown that it does not."""
        async with self._lock:  # callers at the same time ask once
            await self._check(address)

    async def _check(self, address: Address) -> None:
        recently = time.monotonic() - _CHECKED_S
        due = [url for url in self._rpc.urls if self._honours.get(url, recently) <= recently]
        params = [address, {"limit": 1, "commitment": "confirmed", "minContextSlot": UNREACHABLE}]
        for endpoint in await self._rpc.ask_each(due, _METHOD, params):
            if not isinstance(endpoint.answer, JsonRpcError) and await self._is_public(endpoint.url):
                self._honours.pop(endpoint.url, None)
                raise ChainError(
                    f"{endpoint.name} ignores minContextSlot in {_METHOD}: the list of a node that is behind would "
                    "count as complete. Name an RPC that honours it, as a validator of Agave does."
                )
            if _has_decided(endpoint.answer):
                self._honours[endpoint.url] = time.monotonic()
        if not self._honours:
            raise ChainError(
                f"{self._rpc.name} has not shown yet that it honours minContextSlot in {_METHOD}: no list counts as "
                "complete."
            )

    async def _is_public(self, url: str) -> bool:
        """Return whether an endpoint is one of a public cluster; true if it does not say."""
        for endpoint in await self._rpc.ask_each([url], "getGenesisHash", []):
            if isinstance(endpoint.answer, bytes):
                return decode_answer(str, "getGenesisHash", endpoint.answer) in PUBLIC_CLUSTERS
        return True


def _has_decided(answer: bytes | JsonRpcError) -> bool:
    """Return whether an answer that is not refused shows that the endpoint's lists may be used."""
    return not isinstance(answer, JsonRpcError) or answer.code in LAG_CODES or answer.is_answer
