"""Transactions in flight: the same bytes are sent again until they landed or never can."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from zmart.chain.judge import Live, PendingTransaction, judge
from zmart.chain.nonces import durable_nonce
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Signature

log = structlog.get_logger()

AGAIN_S = 2.0
_LONGEST_PAUSE_S = 60.0
_GIVE_UP_S = 120.0
MAX_IN_FLIGHT = 2_000
MAX_WITH_NONCE = 500


@dataclass
class _InFlight:
    """One that lives by a blockhash is sent again until `until`; one with a durable nonce while that stands, at
    growing intervals."""

    attempt: PendingTransaction
    until: float
    next_at: float
    pause_s: float
    has_nonce: bool


class Rebroadcast:
    """At most 2,000 transactions at once, and besides them 500 with a durable nonce."""

    def __init__(
        self,
        again_s: float = AGAIN_S,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_with_nonce: int = MAX_WITH_NONCE,
    ) -> None:
        self._again_s = again_s
        self._max_in_flight = max_in_flight
        self._max_with_nonce = max_with_nonce
        self._in_flight: dict[Signature, _InFlight] = {}

    def get(self, signature: Signature) -> PendingTransaction | None:
        """Return the transaction if it is still sent again."""
        found = self._in_flight.get(signature)
        return found.attempt if found is not None else None

    def add(self, attempt: PendingTransaction) -> None:
        """Again is harmless. Where there is no room, one with a nonce takes the place of the oldest such one, which
        would stay; other ones leave by themselves, and the new one is not sent again."""
        if attempt.signature in self._in_flight:
            return
        has_nonce = durable_nonce(attempt.transaction) is not None
        alike = [signature for signature, one in self._in_flight.items() if one.has_nonce == has_nonce]
        if has_nonce and len(alike) >= self._max_with_nonce:
            del self._in_flight[alike[0]]
        elif not has_nonce and len(alike) >= self._max_in_flight:
            return
        now = time.monotonic()
        until = math.inf if has_nonce else now + _GIVE_UP_S
        self._in_flight[attempt.signature] = _InFlight(
            attempt, until, now + self._again_s, self._again_s, has_nonce
        )

    async def run(
        self,
        stop: asyncio.Event,
        chain: Callable[[], Rpc],
        remember: Callable[[PendingTransaction], Awaitable[None]],
    ) -> None:
        """`remember` is told of each with a nonce that goes on, for it may stand longer than memories last."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), self._again_s)
            except TimeoutError:
                await self._again(chain, remember)

    async def _again(
        self, chain: Callable[[], Rpc], remember: Callable[[PendingTransaction], Awaitable[None]]
    ) -> None:
        now = time.monotonic()
        for signature, one in list(self._in_flight.items()):
            if one.next_at > now:
                continue
            one.next_at = now + one.pause_s
            try:
                if now > one.until or not isinstance(await judge([chain()], one.attempt), Live):
                    self._in_flight.pop(signature, None)
                    continue
                if one.has_nonce:
                    one.pause_s = min(one.pause_s * 2, _LONGEST_PAUSE_S)
                    await remember(one.attempt)
                await chain().send_raw_transaction(one.attempt.raw_tx, skip_preflight=True)
            except ChainError as problem:
                log.info("transaction not sent again", signature=signature, reason=str(problem))
