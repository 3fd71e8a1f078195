"""Keep for a short time what was read about the lamports of wallets, so that repeated votes cost no repeated reading.

Only the vote that is accepted stores what its wallet was judged by. A wallet that is not eligible, or cannot be judged,
could otherwise have its whole history read again with every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

import msgspec

from zmart.feed.tasks import retrieve
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.types import Wallet

_FRESH_S = 60.0
_MOST_ENTRIES = 10_000
_MOST_READINGS = 64

ReadHeld = Callable[[], Awaitable[VoterFacts]]
ShareReading = Callable[[Wallet, VoteOpening, ReadHeld], Awaitable[VoterFacts]]
"""Returns what a wallet held when a vote opened, by the given reading or by an earlier one. Raises what it raises."""


async def read_now(_wallet: Wallet, _opening: VoteOpening, read: ReadHeld) -> VoterFacts:
    """Read what the wallet held, without regard to earlier readings."""
    return await read()


class _Reading(msgspec.Struct, frozen=True):
    future: asyncio.Future[VoterFacts]
    fresh_until: float = float("inf")
    """In time.monotonic(). A reading that has not ended yet is fresh."""


class HeldFacts:
    """Share readings of what wallets held when a vote opened, for `fresh_s` seconds after they end.

    Requests for the same wallet and vote wait for one reading, which goes on when they give up waiting: the next one
    gets its result. Past facts do not change, so an answer is valid for good; it is read again after that time because
    an RPC may then show what was unknown. A failed reading is repeated once as much time has passed as it took. At most
    `most_entries` results are stored, the newest ones.
    """

    def __init__(self, fresh_s: float = _FRESH_S, most_entries: int = _MOST_ENTRIES) -> None:
        self._fresh_s = fresh_s
        self._most_entries = most_entries
        self._readings: dict[tuple[Wallet, VoteOpening], _Reading] = {}
        self._running: set[asyncio.Future[VoterFacts]] = set()

    async def share(self, wallet: Wallet, opening: VoteOpening, read: ReadHeld) -> VoterFacts:
        """Return the result of a fresh reading, else of `read`. Raises what the reading raises."""
        key = (wallet, opening)
        reading = self._readings.get(key)
        if reading is not None and time.monotonic() < reading.fresh_until:
            return await asyncio.shield(reading.future)
        if len(self._running) >= _MOST_READINGS:
            return await read()  # it ends with its request
        return await asyncio.shield(self._begin(key, read))

    async def close(self) -> None:
        """End the readings that are in progress."""
        for future in self._running:
            future.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, key: tuple[Wallet, VoteOpening], read: ReadHeld) -> asyncio.Future[VoterFacts]:
        began_s = time.monotonic()
        # In a context of its own: the result outlives the request that began the reading, and keeps none of it.
        future = asyncio.create_task(_run(read), context=Context())
        self._running.add(future)
        self._store(key, _Reading(future))

        def end(_: asyncio.Future[VoterFacts]) -> None:
            self._running.discard(future)
            retrieve(future)
            now = time.monotonic()
            failed = future.cancelled() or future.exception() is not None
            self._store(key, _Reading(future, now + (now - began_s if failed else self._fresh_s)))

        future.add_done_callback(end)
        return future

    def _store(self, key: tuple[Wallet, VoteOpening], reading: _Reading) -> None:
        self._readings.pop(key, None)
        self._readings[key] = reading
        while len(self._readings) > self._most_entries or self._is_oldest_over():
            del self._readings[next(iter(self._readings))]

    def _is_oldest_over(self) -> bool:
        return next(iter(self._readings.values())).fresh_until < time.monotonic()


async def _run(read: ReadHeld) -> VoterFacts:
    return await read()
