"""What is remembered of addresses that were asked for: how to read the answer again, and answers, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from zmart.services.gateway.asked import Common
from zmart.services.gateway.wire import Head

Target = tuple[str, bytes]
"""Path and query."""
At = tuple[str, int]
"""Epoch and head of the feed."""
Read = Callable[[], Awaitable[object]]
_MOST_TARGETS = 20_000


class Packed:
    """An answer as it is sent; `tag` is its ETag, `heads` what goes before the body."""

    def __init__(self, body: bytes, tag: bytes) -> None:
        self.body = body
        self.tag = tag
        self.heads: dict[Common, Head] = {}


class Known:
    """An address; `kept` is its last answer, read when the feed stood at `at`."""

    def __init__(self, target: Target, template: str, read: Read, *, text: bool) -> None:
        self.target = target
        self.template = template
        self.read = read
        self.text = text
        self.kept: Packed | None = None
        self.at: At | None = None
        self.until = 0.0
        self.reading: asyncio.Task[Packed] | None = None
        self.reading_at: At | None = None


class Memory:
    """Addresses by what was asked; those that were learned first go first."""

    def __init__(self, most_bytes: int) -> None:
        self.keeps_answers = most_bytes > 0
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._known: dict[Target, Known] = {}

    def get(self, target: Target) -> Known | None:
        return self._known.get(target)

    def learn(self, known: Known) -> None:
        if len(self._known) >= _MOST_TARGETS:
            self._forget_oldest()
        self._known.setdefault(known.target, known)

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
