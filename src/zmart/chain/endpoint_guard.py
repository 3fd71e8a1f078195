"""Refuse answers of an RPC endpoint that the chain of the index cannot give.

Refused are another genesis hash, a slot that the chain cannot have reached, and a time in the future. All RPC clients
of a process share one guard. A refusal counts as a failure of the endpoint: the client asks the next endpoint and uses
nothing of the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog
from prometheus_client import Counter

from zmart.chain.clock import ChainClock, RecentClock, clock_params, read_clock
from zmart.chain.rpc_answer import BadAnswer
from zmart.chain.slot_bounds import SlotBounds
from zmart.errors import ChainError, StoreError
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import ChainTime, Slot

GENESIS_EVERY_S = 60.0
"""Seconds until an endpoint's genesis hash is read again: a load balancer may switch to other nodes."""
_SHORTEST_HASH = 32
"""The fewest characters of 32 bytes in base58. Shorter text in the index, as after a manual insert, is no genesis
hash."""
_ADVANCING_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses in seconds between checks whether a chain with an advanced clock has produced its next slot."""
_REPORTED_S = 600.0
"""Seconds for which an impossible slot or time of an endpoint is reported after it last occurred."""
REFUSED = Counter(
    "zmart_rpc_refused_answers",
    "answers of another chain, or of what the chain cannot have reached",
    ["endpoint"],
)
_log = structlog.get_logger(__name__)

EndpointCall = Callable[[str, Sequence[object]], Awaitable[bytes]]
"""`await call(method, params)` calls one endpoint and returns the raw JSON of its result."""


class ChainReport(msgspec.Struct, frozen=True):
    """Hold the newest slot and the newest time that an RPC answer names; `time` is None if it names none."""

    slot: Slot
    time: ChainTime | None = None


class RecordedChain(Protocol):
    """Describe the chain that the index was built from: its genesis hash and its newest final slot and time."""

    @property
    def genesis_hash(self) -> str:
        """The hash that identifies the cluster."""
        ...

    @property
    def final_slot(self) -> Slot:
        """The newest final slot that the indexer has seen."""
        ...

    @property
    def final_time(self) -> ChainTime | None:
        """The newest time of the chain's Clock that the indexer has seen; None before the first one."""
        ...


class GuardedEndpoint(msgspec.Struct, frozen=True):
    """Name an endpoint: its URL, which may hold an API key, and the name that messages show."""

    url: str
    name: str


class _Refusal(msgspec.Struct, frozen=True):
    name: str
    reason: str
    at: float


class EndpointGuard:
    """Check the answers of all RPC endpoints of this process.

    `recorded` reads which chain the index was built from; it returns None before the index has one.
    """

    def __init__(self, recorded: Callable[[], Awaitable[RecordedChain | None]]) -> None:
        self._read_recorded = recorded
        self._recorded: RecordedChain | None = None
        self._bounds = SlotBounds()
        self._checked_at: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._other_chains: dict[str, _Refusal] = {}
        self._impossible: dict[str, _Refusal] = {}

    def refusals(self) -> Mapping[str, str]:
        """Return the reason for each endpoint whose answers are refused now, or were in the last 10 minutes."""
        recently = time.monotonic() - _REPORTED_S
        reported = [one for one in self._impossible.values() if one.at > recently] + list(
            self._other_chains.values()
        )
        return {one.name: one.reason for one in reported}

    async def admit(self, endpoint: GuardedEndpoint, call: EndpointCall, *, now: bool = False) -> None:
        """Check that an endpoint belongs to the index's chain.

        The genesis hash is read every GENESIS_EVERY_S seconds, or with `now` at once; nothing is compared before the
        index has a chain. Raises BadAnswer if the hash is another one, and the ChainError of `call` if the endpoint
        fails.
        """
        url = endpoint.url
        if not now and self._is_fresh(url):
            return
        async with self._locks[url]:
            if not now and self._is_fresh(url):
                return
            recorded = await self._chain()
            if recorded is not None and len(recorded.genesis_hash) >= _SHORTEST_HASH:
                await self._compare(endpoint, call, recorded)
            self._checked_at[url] = time.monotonic()

    def watch(self, endpoint: GuardedEndpoint) -> None:
        """Export the number of refused answers of an endpoint from now on, so that the first refusal is an increase."""
        REFUSED.labels(endpoint.name)

    def reconnects(self, endpoint: GuardedEndpoint) -> None:
        """Have the next `admit` check the endpoint again: it failed, and another node may answer next."""
        self._checked_at.pop(endpoint.url, None)

    async def check(
        self, endpoint: GuardedEndpoint, report: ChainReport | ChainClock, call: EndpointCall
    ) -> None:
        """Raise BadAnswer if an answer reports a slot or a time that the chain cannot have reached.

        The endpoint is then listed by `refusals`, unless the clock of a local chain was just being advanced.
        """
        try:
            await self._judge(report, call)
        except BadAnswer as problem:
            if not await self._is_advancing(report, call):
                self._refuse(endpoint, self._impossible, str(problem))
            raise

    async def _judge(self, report: ChainReport | ChainClock, call: EndpointCall) -> None:
        if isinstance(report, ChainClock):
            self._bounds.learn(report)
            if isinstance(report, RecentClock):
                self._bounds.check_recent(report)
            return
        await self._check_slot(report.slot, call)
        if report.time is not None:
            self._bounds.check_time(report.time)

    async def _is_advancing(self, report: ChainReport | ChainClock, call: EndpointCall) -> bool:
        """Return whether the clock of a local chain was being advanced while it answered.

        Until its next slot, such a chain reports the new time together with a slot that does not match. The answer is
        not used, but it is no reason for an alert.
        """
        if self._bounds.is_public:
            return False
        for pause_s in _ADVANCING_S:
            await asyncio.sleep(pause_s)
            try:
                self._bounds.learn(read_clock(await call("getAccountInfo", clock_params("confirmed"))))
                if isinstance(report, ChainReport):
                    self._bounds.check_slot(report.slot)
            except (BadAnswer, ChainError):
                continue
            return True
        return False

    async def _check_slot(self, slot: Slot, call: EndpointCall) -> None:
        if self._bounds.ceiling() is None:
            await self._chain()
        ceiling = self._bounds.ceiling()
        is_possible = ceiling is not None and slot <= ceiling
        if is_possible and not self._bounds.is_due:
            return
        try:
            self._bounds.learn(read_clock(await call("getAccountInfo", clock_params("confirmed"))))
        except (BadAnswer, ChainError):
            if not is_possible:
                raise
        self._bounds.check_slot(slot)

    async def _chain(self) -> RecordedChain | None:
        if self._recorded is None:
            try:
                self._recorded = await self._read_recorded()
            except StoreError:
                return None
            if self._recorded is not None:
                self._bounds.belong_to(self._recorded.genesis_hash)
                self._start_from(self._recorded)
        return self._recorded

    def _start_from(self, recorded: RecordedChain) -> None:
        if recorded.final_time is None or self._bounds.ceiling() is not None:
            return
        try:
            self._bounds.learn(ChainClock(recorded.final_slot, recorded.final_time))
        except BadAnswer as problem:
            _log.error("the index's own progress cannot be true", reason=str(problem))

    def _is_fresh(self, url: str) -> bool:
        checked_at = self._checked_at.get(url)
        return checked_at is not None and time.monotonic() - checked_at < GENESIS_EVERY_S

    async def _compare(self, endpoint: GuardedEndpoint, call: EndpointCall, recorded: RecordedChain) -> None:
        try:
            genesis = msgspec.json.decode(await call("getGenesisHash", []), type=str)
        except JSON_ERRORS as error:
            raise BadAnswer(f"its genesis hash has another shape: {error}") from error
        if genesis == recorded.genesis_hash:
            self._other_chains.pop(endpoint.url, None)
            return
        reason = f"it belongs to another chain: its genesis is {genesis}, the index's {recorded.genesis_hash}"
        self._refuse(endpoint, self._other_chains, reason)
        raise BadAnswer(reason)

    def _refuse(self, endpoint: GuardedEndpoint, refusals: dict[str, _Refusal], reason: str) -> None:
        REFUSED.labels(endpoint.name).inc()
        if endpoint.url not in refusals:
            _log.error("answers of an RPC endpoint are refused", endpoint=endpoint.name, reason=reason)
        refusals[endpoint.url] = _Refusal(endpoint.name, f"{endpoint.name}: {reason}", time.monotonic())
