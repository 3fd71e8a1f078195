"""The short way for reads that were asked before: their address needs no parsing, an answer that still holds no
reading. Whatever is unusual (a problem, a signed request, an address never seen) goes the long way.

What is done here is done for every such request, many thousand times a second: nothing is made that is not sent.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from zmart.services.contract import Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.access import AccessLog
from zmart.services.gateway.answers import AGAIN, REVALIDATE, SHARED, TEXT, is_known_to, packed
from zmart.services.gateway.asked import Asked, Common
from zmart.services.gateway.auth.addresses import Networks, client_address
from zmart.services.gateway.limits import Policy, policy_header
from zmart.services.gateway.memory import At, Known, Memory, Packed, Target
from zmart.services.gateway.rooms import Rooms
from zmart.services.gateway.standing import UNPUBLISHED_S
from zmart.services.gateway.turns import Turns
from zmart.services.gateway.wire import Head, Own, write

_MOST_QUERY_BYTES = 300


class Hot:
    """What the front asks first. Handlers say with `answers.again` what may go the short way."""

    def __init__(
        self, rooms: Rooms, reads: Policy, trusted: Networks, access: AccessLog, within_s: float
    ) -> None:
        self._rooms = rooms
        self._reads = reads
        self._trusted = trusted
        self._access = access
        self._within_s = within_s
        self._memory = Memory(rooms.settings.answer_cache_bytes)
        self._turns = Turns(rooms.limiter, reads, rooms.standings)
        self._fixed = [
            (b"cache-control", REVALIDATE),
            (b"content-type", b"application/json"),
            (b"ratelimit-policy", policy_header(reads)),
        ]

    async def answers(self, asked: Asked, send: Send) -> bool:
        """Answer; or False, and nothing was sent: the long way knows the address, or will find the problem again and
        explain it."""
        scope, given = asked.scope, asked.given
        known = self._memory.get((scope["path"], scope["query_string"]))
        if known is None or not _is_plain(asked):
            return False
        client, forwarded = scope["client"], given.get(b"x-forwarded-for")
        peer = client[0] if client else "unknown"
        caller = client_address(peer, forwarded.decode("latin-1"), self._trusted) if forwarded else peer
        try:
            way = self._kept if self._memory.keeps_answers else self._read
            answer, own = await way(known, caller)
        except Exception:
            return False
        if own is None:
            return False
        own.request_id = asked.request_id
        known_tags = given.get(b"if-none-match")
        if known_tags is not None and is_known_to(known_tags, answer.tag):
            await write(send, 304, self._head(answer, asked.common, with_length=False), own, b"")
            self._note(asked, known, 304)
            return True
        head = answer.heads.get(asked.common)
        if head is None:
            head = answer.heads[asked.common] = self._head(answer, asked.common, with_length=True)
        await write(send, 200, head, own, answer.body)
        self._note(asked, known, 200)
        return True

    def learn(self, asked: Asked, scope: Scope) -> None:
        """Remember an address that was answered the long way; `scope` holds what was found on it."""
        if AGAIN in scope and scope.get(SHARED) and _is_plain(asked):
            target: Target = asked.scope["path"], asked.scope["query_string"]
            template, text = str(scope.get("path_template", "")), bool(scope.get(TEXT))
            if len(target[1]) <= _MOST_QUERY_BYTES:
                self._memory.learn(Known(target, template, scope[AGAIN], text=text))

    def _head(self, answer: Packed, common: Common, *, with_length: bool) -> Head:
        """The headers that every answer with these bytes to this origin has."""
        length = [(b"content-length", b"%d" % len(answer.body))] if with_length else []
        return Head([*common.headers, *self._fixed, (b"etag", answer.tag), *length])

    def _note(self, asked: Asked, known: Known, status: int) -> None:
        seconds = perf_counter() - asked.began
        metrics.REQUESTS.count("GET", known.template, status, seconds)
        self._access.note("GET", asked.scope["path"], status, seconds, asked.request_id)

    async def _read(self, known: Known, caller: str) -> tuple[Packed, Own | None]:
        """An answer read now; None: this caller may ask no more."""
        counting = self._rooms.limiter.begin(self._reads, caller)
        async with asyncio.timeout(self._within_s):
            slot = await self._rooms.as_of_slot.get()
            answer = await _read(known)
            verdict = await counting
        return answer, Own(
            slot, self._reads.name, verdict.remaining, verdict.reset_s
        ) if verdict.allowed else None

    async def _kept(self, known: Known, caller: str) -> tuple[Packed, Own | None]:
        """The kept answer if nothing was committed since, else a new one, read once for all who wait for it."""
        turn, place = await self._turns.join(caller)
        grant, standing = turn.grants[caller], turn.standing
        own = None
        if place < grant.granted:
            own = Own(standing.slot, self._reads.name, max(0, grant.left - place - 1), grant.reset_s)
        at = standing.epoch, standing.head
        if known.at == at and known.kept is not None and perf_counter() < known.until:
            return known.kept, own
        if known.reading is None or known.reading_at != at:
            known.reading_at = at
            known.reading = asyncio.create_task(self._read_and_keep(known, at))
        return await asyncio.shield(known.reading), own

    async def _read_and_keep(self, known: Known, at: At) -> Packed:
        try:
            until = perf_counter() + UNPUBLISHED_S
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


async def _read(known: Known) -> Packed:
    return Packed(*packed(await known.read(), text=known.text))
