"""Serve `GET /api/stats` on the aggregator's own port, in the shape that its clients know."""

from __future__ import annotations

import msgspec

from zmart.errors import StoreError
from zmart.market.times import now_iso
from zmart.services.contract import Receive, Scope, Send
from zmart.services.store_refusal import refusal_of
from zmart.store import market_work
from zmart.store.pool import Pool


class StatsApi:
    """An ASGI application with one route."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope.get("path", "")
        if path != "/api/stats":
            await _answer(send, 404, _problem(404, "Not Found", f"There is no {path} here.", path))
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, _problem(405, "Method Not Allowed", "Only GET is answered here.", path))
        else:
            await self._stats(send, path)

    async def _stats(self, send: Send, path: str) -> None:
        try:
            pending = await market_work.pending(self._pool)
        except StoreError as problem:
            refusal = refusal_of(problem)
            body = _problem(503, "Service Unavailable", refusal.message, path)
            await _answer(send, 503, body, refusal.retry_after)
            return
        stats = {
            "proposalVoteSets": pending.proposal_sets,
            "disputeVoteSets": pending.dispute_sets,
            "totalPendingVotes": pending.votes,
            "timestamp": now_iso(),
        }
        await _answer(send, 200, stats)


def _problem(status: int, error: str, message: str, path: str) -> dict[str, object]:
    return {"error": error, "message": message, "status": status, "timestamp": now_iso(), "path": path}


async def _answer(send: Send, status: int, body: dict[str, object], retry_after: str | None = None) -> None:
    raw = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
