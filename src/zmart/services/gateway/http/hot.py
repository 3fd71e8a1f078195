"""The short way for reads that were asked before: their address needs no parsing, an answer that still holds no
reading. Whatever is unusual (a problem, a signed request, an address never seen) goes the long way.

What is done here is done for every such request, many thousand times a second: nothing is made that is not sent.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from time import perf_counter

from zmart.errors import NotFound
from zmart.services.contract import WIRE, Line, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.access_log import AccessLog
from zmart.services.gateway.http.asked import Asked, Common, request_id_of
from zmart.services.gateway.http.auth.client_addresses import Networks, client_address
from zmart.services.gateway.http.memory import At, Known, Memory, Packed, Request
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, RateLimitVerdict, policy_header
from zmart.services.gateway.http.responses import AGAIN, REVALIDATE, SHARED, TEXT, is_known_to, packed
from zmart.services.gateway.http.turns import Turns
from zmart.services.gateway.http.wire import Head, Own, write
from zmart.store.change_feed import FeedPosition

_MOST_QUERY_BYTES = 300


class Hot:
    """What the front asks first, and before it, by the bytes of a request, the host (services.contract.ShortWay).
    Handlers say with `answers.again` what may be answered here."""

    def __init__(
        self,
        context: AppContext,
        reads: RateLimitPolicy,
        trusted: Networks,
        access: AccessLog,
        within_s: float,
    ) -> None:
        self._context = context
        self._reads = reads
        self._access = access
        self._within_s = within_s
        self._memory = Memory(context.settings.answer_cache_bytes)
        self._turns = Turns(context.feed_positions)
        self._caller = lru_cache(maxsize=10_000)(partial(_caller, trusted))
        self._fixed = [
            (b"cache-control", REVALIDATE),
            (b"content-type", b"application/json"),
            (b"ratelimit-policy", policy_header(reads)),
        ]

    def short_way(self, wire: bytes, line: Line) -> bool:
        """Take a request that was answered before, of a caller who is far from the limit."""
        request = self._memory.request(wire)
        if request is None:
            return False
        began = perf_counter()
        verdict = self._context.limiter.at_once(self._reads, self._caller(line.peer, request.forwarded))
        if verdict is None:
            return False
        if self._memory.keeps_answers:
            self._turns.join(partial(self._told, wire, request, line, verdict, began))
        else:
            asyncio.get_running_loop().create_task(self._read_for(wire, request, line, verdict, began))
        return True

    async def answers(self, asked: Asked, send: Send) -> bool:
        """Answer; or False, and nothing was sent: the long way knows the address, or will find the problem again and
        explain it."""
        known = self._memory.get((asked.scope["path"], asked.scope["query_string"]))
        if known is None or not _is_plain(asked):
            return False
        client, forwarded = asked.scope["client"], asked.given.get(b"x-forwarded-for")
        try:
            verdict = await self._context.limiter.take(
                self._reads, self._caller(client[0] if client else "unknown", forwarded)
            )
            answer, slot = await (self._kept(known) if self._memory.keeps_answers else self._read(known))
        except Exception:
            return False
        if not verdict.allowed:
            return False
        head = self._head(answer, asked.common, asked.given.get(b"if-none-match"))
        own = Own(slot, self._reads.name, verdict.remaining, verdict.reset_s, asked.request_id)
        await write(send, head, own, answer.body if head.status == 200 else b"")
        self._note(known, head.status, asked.began, asked.request_id)
        self._learn_request(asked, known)
        return True

    def learn(self, asked: Asked, scope: Scope) -> None:
        """Remember an address that was answered the long way; `scope` holds what was found on it."""
        if AGAIN in scope and scope.get(SHARED) and _is_plain(asked):
            target = asked.scope["path"], asked.scope["query_string"]
            template, text = str(scope.get("path_template", "")), bool(scope.get(TEXT))
            read, holds_s = scope[AGAIN]
            if len(target[1]) <= _MOST_QUERY_BYTES:
                self._memory.learn(Known(target, template, read, holds_s, text=text))

    def _learn_request(self, asked: Asked, known: Known) -> None:
        found = (asked.scope.get("extensions") or {}).get(WIRE)
        if found is not None and b"x-request-id" not in asked.given:
            given = asked.given
            request = Request(known, asked.common, given.get(b"x-forwarded-for"), given.get(b"if-none-match"))
            self._memory.learn_request(found["bytes"], request)

    def _told(
        self,
        wire: bytes,
        request: Request,
        line: Line,
        verdict: RateLimitVerdict,
        began: float,
        standing: FeedPosition | None,
    ) -> None:
        """The end of a turn: what is kept still holds, or must be read again."""
        known = request.known
        kept = known.kept
        if standing is None:
            line.refuse(wire)
        elif kept is not None and known.at == standing.at and perf_counter() < known.until:
            self._write(request, line, verdict, began, kept, standing.slot)
        else:
            renewing = self._renewed_for(wire, request, line, verdict, began, standing)
            asyncio.get_running_loop().create_task(renewing)

    async def _renewed_for(
        self,
        wire: bytes,
        request: Request,
        line: Line,
        verdict: RateLimitVerdict,
        began: float,
        standing: FeedPosition,
    ) -> None:
        try:
            answer = await self._renewed(request.known, standing.at)
        except Exception:
            line.refuse(wire)
        else:
            self._write(request, line, verdict, began, answer, standing.slot)

    async def _read_for(
        self, wire: bytes, request: Request, line: Line, verdict: RateLimitVerdict, began: float
    ) -> None:
        try:
            answer, slot = await self._read(request.known)
        except Exception:
            line.refuse(wire)
        else:
            self._write(request, line, verdict, began, answer, slot)

    def _write(
        self, request: Request, line: Line, verdict: RateLimitVerdict, began: float, answer: Packed, slot: int
    ) -> None:
        request_id = request_id_of(None)
        head = self._head(answer, request.common, request.tags)
        own = Own(slot, self._reads.name, verdict.remaining, verdict.reset_s, request_id).wire()
        line.answer(b"".join((head.wire, own, answer.body if head.status == 200 else b"")))
        self._note(request.known, head.status, began, request_id)

    def _head(self, answer: Packed, common: Common, tags: bytes | None) -> Head:
        """What every answer with these bytes to this origin begins with."""
        if tags is not None and is_known_to(tags, answer.tag):
            return Head(304, [*common.headers, *self._fixed, (b"etag", answer.tag)])
        head = answer.heads.get(common)
        if head is None:
            length = b"content-length", b"%d" % len(answer.body)
            head = Head(200, [*common.headers, *self._fixed, (b"etag", answer.tag), length])
            answer.heads[common] = head
        return head

    def _note(self, known: Known, status: int, began: float, request_id: str) -> None:
        seconds = perf_counter() - began
        metrics.REQUESTS.count("GET", known.template, status, seconds)
        self._access.note("GET", known.target[0], status, seconds, request_id)

    async def _read(self, known: Known) -> tuple[Packed, int]:
        """An answer read now, and a slot that it is complete through."""
        async with asyncio.timeout(self._within_s):
            slot = await self._context.as_of_slot.get()
            return await _read(known), slot

    async def _kept(self, known: Known) -> tuple[Packed, int]:
        """The kept answer if nothing was committed since, else a new one."""
        standing = await self._turns.standing()
        if standing is None:
            raise TimeoutError
        if known.kept is not None and known.at == standing.at and perf_counter() < known.until:
            return known.kept, standing.slot
        return await self._renewed(known, standing.at), standing.slot

    async def _renewed(self, known: Known, at: At) -> Packed:
        """A new answer, read once for all who wait for it."""
        if known.reading is None or known.reading_at != at:
            known.reading_at = at
            known.reading = asyncio.create_task(self._read_and_keep(known, at))
        return await asyncio.shield(known.reading)

    async def _read_and_keep(self, known: Known, at: At) -> Packed:
        try:
            until = perf_counter() + known.holds_s()
            async with asyncio.timeout(self._within_s):
                answer = await _read(known)
            self._memory.keep(known, answer, at, until)
            return answer
        finally:
            if known.reading_at == at:
                known.reading = None


def _is_plain(asked: Asked) -> bool:
    """Nothing in it that the long way is for."""
    given, scope = asked.given, asked.scope
    return scope["method"] == "GET" and b"authorization" not in given and len(given) == len(scope["headers"])


def _caller(trusted: Networks, peer: str, forwarded: bytes | None) -> str:
    return client_address(peer, None if forwarded is None else forwarded.decode("latin-1"), trusted)


async def _read(known: Known) -> Packed:
    """Raises NotFound when what the address named is gone: the long way says so in full."""
    content = await known.read()
    if content is None:
        raise NotFound("It is gone.")
    return Packed(*packed(content, text=known.text))
