"""The short way for reads that were asked before: their address needs no parsing, an answer that still holds no
reading. Whatever is unusual (a problem, a signed request, an address never seen) goes the long way.
"""

from __future__ import annotations

import asyncio
import time

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway.answers import AGAIN, REVALIDATE, SHARED, TEXT, is_known_to, packed
from zmart.services.gateway.auth.addresses import Networks, client_address
from zmart.services.gateway.limits import Policy, Verdict, limit_header, policy_header
from zmart.services.gateway.memory import Known, Memory, Packed, Target
from zmart.services.gateway.rooms import Rooms
from zmart.services.gateway.standing import UNPUBLISHED_S
from zmart.store.change_feed import Standing

_MOST_QUERY_BYTES = 300


class Hot:
    """An ASGI application around the framework's. Handlers say with `answers.again` what may go the short way."""

    def __init__(self, inner: AsgiApp, rooms: Rooms, reads: Policy, trusted: Networks) -> None:
        self._inner = inner
        self._rooms = rooms
        self._reads = reads
        self._policy_header = policy_header(reads)
        self._trusted = trusted
        self._memory = Memory(rooms.settings.answer_cache_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])
        target = _target(scope, given)
        known = None if target is None else self._memory.get(target)
        if known is not None and await self._short(known, scope, given, send):
            return
        await self._inner(scope, receive, send)
        if target is not None and known is None and AGAIN in scope and scope.get(SHARED):
            template, text = str(scope.get("path_template", "")), bool(scope.get(TEXT))
            self._memory.learn(Known(target, template, scope[AGAIN], text=text))

    async def _short(self, known: Known, scope: Scope, given: dict[bytes, bytes], send: Send) -> bool:
        """Answer; or False, and nothing was sent: the long way will find the problem again and explain it."""
        counting = self._rooms.limiter.begin(self._reads, self._caller(scope, given))
        try:
            slot = await self._rooms.as_of_slot.get()
            answer = await (self._fresh(known) if self._memory.keeps_answers else _read(known))
            verdict = await counting
        except Exception:
            return False
        if not verdict.allowed:
            return False
        scope["path_template"] = known.template
        headers = [
            (b"etag", answer.tag),
            (b"x-as-of-slot", b"%d" % slot),
            (b"cache-control", REVALIDATE),
            *self._limit_headers(verdict),
        ]
        await _send(send, answer, headers, is_unchanged=is_known_to(given.get(b"if-none-match"), answer.tag))
        return True

    def _caller(self, scope: Scope, given: dict[bytes, bytes]) -> str:
        peer = scope["client"][0] if scope.get("client") else "unknown"
        forwarded = given.get(b"x-forwarded-for")
        return client_address(peer, None if forwarded is None else forwarded.decode("latin-1"), self._trusted)

    def _limit_headers(self, verdict: Verdict) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        return (b"ratelimit-policy", self._policy_header), (b"ratelimit", limit_header(self._reads, verdict))

    async def _fresh(self, known: Known) -> Packed:
        """The kept answer if nothing was committed since, else a new one, read once for all who wait for it."""
        standing = await self._rooms.standings.now()
        if known.kept is not None and known.standing == standing and time.monotonic() < known.until:
            return known.kept
        if known.reading is None or known.reading_at != standing:
            known.reading_at = standing
            known.reading = asyncio.create_task(self._read_and_keep(known, standing))
        return await asyncio.shield(known.reading)

    async def _read_and_keep(self, known: Known, standing: Standing) -> Packed:
        try:
            until = time.monotonic() + UNPUBLISHED_S
            answer = await _read(known)
            self._memory.keep(known, answer, standing, until)
            return answer
        finally:
            if known.reading_at == standing:
                known.reading = None


def _target(scope: Scope, given: dict[bytes, bytes]) -> Target | None:
    """None for what always goes the long way."""
    if scope["method"] != "GET" or b"authorization" in given or len(given) != len(scope["headers"]):
        return None
    query: bytes = scope["query_string"]
    return None if len(query) > _MOST_QUERY_BYTES else (scope["path"], query)


async def _read(known: Known) -> Packed:
    return Packed(*packed(await known.read(), text=known.text))


async def _send(
    send: Send, answer: Packed, headers: list[tuple[bytes, bytes]], *, is_unchanged: bool
) -> None:
    status, body = (304, b"") if is_unchanged else (200, answer.body)
    if not is_unchanged:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
