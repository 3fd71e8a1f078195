"""Serve `GET /api/stats` on the aggregator's own port, in the shape that its clients know."""

from __future__ import annotations

from zmart.errors import StoreError
from zmart.market.times import now_iso
from zmart.services.contract import Receive, Scope, Send
from zmart.services.plain_http import send_json, send_problem, send_store_problem
from zmart.store import market_work
from zmart.store.pool import Pool


class StatsApi:
    """An ASGI application with one route."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET /api/stats; any other path with 404."""
        if scope["type"] != "http":
            return
        path = scope.get("path", "")
        if path != "/api/stats":
            await send_problem(send, 404, "Not Found", f"There is no {path} here.", path)
        elif scope["method"] not in ("GET", "HEAD"):
            await send_problem(send, 405, "Method Not Allowed", "Only GET is answered here.", path)
        else:
            await self._stats(send, path)

    async def _stats(self, send: Send, path: str) -> None:
        try:
            pending = await market_work.pending(self._pool)
        except StoreError as problem:
            await send_store_problem(send, problem, path)
            return
        stats = {
            "proposalVoteSets": pending.proposal_sets,
            "disputeVoteSets": pending.dispute_sets,
            "totalPendingVotes": pending.votes,
            "timestamp": now_iso(),
        }
        await send_json(send, 200, stats)
