"""Resend transactions in flight: send the same bytes again until they have landed or can no longer land."""

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

RESEND_S = 2.0
_LONGEST_PAUSE_S = 60.0
_GIVE_UP_S = 120.0
MAX_IN_FLIGHT = 2_000
MAX_WITH_NONCE = 500


@dataclass
class _InFlight:
    """A transaction that is being resent. With a blockhash it is resent until `until`; with a durable nonce as long as
    the nonce is current, at growing intervals. `until` and `next_at` are times of time.monotonic."""

    pending: PendingTransaction
    until: float
    next_at: float
    pause_s: float
    has_nonce: bool


class Rebroadcast:
    """Resend transactions: up to `max_in_flight` with a blockhash, and up to `max_with_nonce` with a durable nonce."""

    def __init__(
        self,
        resend_s: float = RESEND_S,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_with_nonce: int = MAX_WITH_NONCE,
    ) -> None:
        self._resend_s = resend_s
        self._max_in_flight = max_in_flight
        self._max_with_nonce = max_with_nonce
        self._in_flight: dict[Signature, _InFlight] = {}

    def get(self, signature: Signature) -> PendingTransaction | None:
        """Return the transaction with this signature if it is in flight, else None."""
        sent = self._in_flight.get(signature)
        return sent.pending if sent is not None else None

    def add(self, pending: PendingTransaction) -> None:
        """Begin to resend a transaction; idempotent. At the limit, a transaction with a nonce replaces the oldest one
        with a nonce, since those may be in flight without end. A transaction with a blockhash is then not resent: those
        in flight end after 120 s at most."""
        if pending.signature in self._in_flight:
            return
        has_nonce = durable_nonce(pending.transaction) is not None
        alike = [signature for signature, one in self._in_flight.items() if one.has_nonce == has_nonce]
        if has_nonce and len(alike) >= self._max_with_nonce:
            del self._in_flight[alike[0]]
        elif not has_nonce and len(alike) >= self._max_in_flight:
            return
        now = time.monotonic()
        until = math.inf if has_nonce else now + _GIVE_UP_S
        self._in_flight[pending.signature] = _InFlight(
            pending, until, now + self._resend_s, self._resend_s, has_nonce
        )

    async def run(
        self,
        stop: asyncio.Event,
        chain: Callable[[], Rpc],
        remember: Callable[[PendingTransaction], Awaitable[object]],
    ) -> None:
        """Resend transactions until `stop` is set. `remember` is called for a transaction with a nonce whenever it is
        resent, to store it again: it may be in flight for longer than it is stored."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), self._resend_s)
            except TimeoutError:
                await self._resend(chain, remember)

    async def _resend(
        self, chain: Callable[[], Rpc], remember: Callable[[PendingTransaction], Awaitable[object]]
    ) -> None:
        now = time.monotonic()
        for signature, one in list(self._in_flight.items()):
            if one.next_at > now:
                continue
            one.next_at = now + one.pause_s
            try:
                if now > one.until or not isinstance(await judge([chain()], one.pending), Live):
                    self._in_flight.pop(signature, None)
                    continue
                if one.has_nonce:
                    one.pause_s = min(one.pause_s * 2, _LONGEST_PAUSE_S)
                    await remember(one.pending)
                await chain().send_raw_transaction(one.pending.raw_tx, skip_preflight=True)
            except ChainError as problem:
                log.info("transaction not resent", signature=signature, reason=str(problem))
