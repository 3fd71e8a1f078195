"""Serve `GET /api/stats` on the aggregator's own port: the numbers of open votes."""

from __future__ import annotations

from zmart.errors import StoreError
from zmart.market.times import now_iso
from zmart.services.contract import Receive, Scope, Send
from zmart.services.plain_http import path_of, send_json, send_problem, send_store_problem
from zmart.store import market_work
from zmart.store.pool import Pool

_PATH = "/api/stats"


class StatsApi:
    """An ASGI application with the route GET /api/stats."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD of /api/stats, other methods with 405 and any other path with 404."""
        if scope["type"] != "http":
            return
        if path_of(scope) != _PATH:
            message = f"There is no {scope['path'][:200]} here: this service answers GET {_PATH}."
            await send_problem(send, scope, 404, message)
        elif scope["method"] not in ("GET", "HEAD"):
            allow = ((b"allow", b"GET, HEAD"),)
            await send_problem(send, scope, 405, f"{_PATH} is read with GET.", headers=allow)
        else:
            await self._stats(scope, send)

    async def _stats(self, scope: Scope, send: Send) -> None:
        try:
            pending = await market_work.pending(self._pool)
        except StoreError as problem:
            await send_store_problem(send, scope, problem)
            return
        stats = {
            "proposalVoteSets": pending.proposal_sets,
            "disputeVoteSets": pending.dispute_sets,
            "totalPendingVotes": pending.votes,
            "timestamp": now_iso(),
        }
        await send_json(send, 200, stats)
