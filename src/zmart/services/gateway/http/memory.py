"""What is remembered of addresses that were asked for: how to read the answer again, and answers, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from zmart.services.gateway.http.asked import Common
from zmart.services.gateway.http.wire import Head

Target = tuple[str, bytes]
"""Path and query."""
At = tuple[str, int]
"""Epoch and head of the feed."""
Read = Callable[[], Awaitable[object]]
_MOST_TARGETS = 20_000
_MOST_REQUESTS = 20_000


class Packed:
    """An answer as it is sent; `tag` is its ETag, `heads` what goes before the body."""

    __slots__ = ("body", "heads", "tag")

    def __init__(self, body: bytes, tag: bytes) -> None:
        self.body = body
        self.tag = tag
        self.heads: dict[Common, Head] = {}


class Known:
    """An address; `kept` is its last answer, read when the feed stood at `at`."""

    def __init__(
        self, target: Target, template: str, read: Read, holds_s: Callable[[], float], *, text: bool
    ) -> None:
        self.target = target
        self.template = template
        self.read = read
        self.holds_s = holds_s
        self.text = text
        self.kept: Packed | None = None
        self.at: At | None = None
        self.until = 0.0
        self.reading: asyncio.Task[Packed] | None = None
        self.reading_at: At | None = None


class Request:
    """What the bytes of a request mean; `tags` are of If-None-Match."""

    __slots__ = ("common", "forwarded", "known", "tags")

    def __init__(self, known: Known, common: Common, forwarded: bytes | None, tags: bytes | None) -> None:
        self.known = known
        self.common = common
        self.forwarded = forwarded
        self.tags = tags


class Memory:
    """Addresses by what was asked, and by the bytes that asked; what was learned first goes first."""

    def __init__(self, most_bytes: int) -> None:
        self.keeps_answers = most_bytes > 0
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._known: dict[Target, Known] = {}
        self._requests: dict[bytes, Request] = {}

    def get(self, target: Target) -> Known | None:
        return self._known.get(target)

    def request(self, wire: bytes) -> Request | None:
        """What these bytes ask for, if they were seen before and the address is still known."""
        request = self._requests.get(wire)
        if request is not None and request.known.target not in self._known:
            del self._requests[wire]
            return None
        return request

    def learn(self, known: Known) -> None:
        if len(self._known) >= _MOST_TARGETS:
            self._forget_oldest()
        self._known.setdefault(known.target, known)

    def learn_request(self, wire: bytes, request: Request) -> None:
        if len(self._requests) >= _MOST_REQUESTS:
            del self._requests[next(iter(self._requests))]
        self._requests[wire] = request

    def keep(self, known: Known, answer: Packed, at: At, until: float) -> None:
        """Keep the answer of an address unless that was forgotten meanwhile."""
        if self._known.get(known.target) is not known:
            return
        self._held_bytes += len(answer.body) - _size(known)
        known.kept, known.at, known.until = answer, at, until
        while self._held_bytes > self._most_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._held_bytes -= _size(self._known.pop(next(iter(self._known))))


def _size(known: Known) -> int:
    return len(known.kept.body) if known.kept is not None else 0
