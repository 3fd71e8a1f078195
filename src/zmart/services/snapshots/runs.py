"""Take snapshots: build the day's documents, pin and verify them.

The service's schedule, its route and the command share this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

import msgspec
import structlog

from zmart.errors import Conflict, NotFound, ReadOnly, StoreError, ZmartError, reason_of
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.market.identifiers import parse_market
from zmart.market.types import MarketId
from zmart.services.snapshots import metrics
from zmart.services.snapshots.building import BuiltSnapshot, SnapshotBuilder
from zmart.services.snapshots.keeping import PinKeeper
from zmart.settings import Settings
from zmart.store import anchors, markets, snapshot_source
from zmart.store.pool import Pool

log = structlog.get_logger()


class SnapshotResult(msgspec.Struct, frozen=True, kw_only=True):
    """A market's snapshot after a run.

    `day` is in ISO 8601. `is_new`: this run stored it. `error` is why pinning failed last if it is not `verified`.
    """

    market_id: MarketId
    cid: str
    day: str
    is_new: bool
    verified: bool
    error: str | None


class PinMaintenance(msgspec.Struct, frozen=True, kw_only=True):
    """How many pins were verified, and how many were removed after their retention."""

    verified: int
    unpinned: int


class SnapshotRuns:
    """Take snapshots: `run_all()` for all markets, `run_one(market)` for one."""

    def __init__(self, pool: Pool, builder: SnapshotBuilder, keeper: PinKeeper) -> None:
        self.pool = pool
        self.keeper = keeper
        self._builder = builder

    @classmethod
    def with_provider(cls, pool: Pool, pins: PinataClient, settings: Settings) -> SnapshotRuns:
        """Return runs that pin at the provider of `pins`."""
        keeper = PinKeeper(pool, pins, settings.ipfs_gateway_url, settings.snapshot_keep_days)
        return cls(pool, SnapshotBuilder(pool, settings.solana_program_id_core, keeper.provider), keeper)

    async def run_all(
        self,
        day: date | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        once: bool = False,
    ) -> list[SnapshotResult]:
        """Take the snapshots of all markets for `day`, by default today, and return them.

        With `once` a market keeps the snapshot that it has of the day, even if it has changed since.
        `on_progress(done, total)` is called after each market. A market whose snapshot cannot be built delays no other.
        Raises Conflict, after all others have been pinned, if a market got no snapshot: for a day before its newest
        one, or for whatever else failed. Raises PinError if the provider is unavailable, after all snapshots have been
        stored, and StoreError if PostgreSQL is: then the run is to be repeated.
        """
        when = day or today()
        markets = await snapshot_source.markets(self.pool)
        built: list[BuiltSnapshot] = []
        failures: dict[MarketId, Exception] = {}
        for number, market_id in enumerate(markets, start=1):
            try:
                built.append(await self._build(market_id, when, once=once))
            except Exception as problem:
                await self._raise_if_outage(problem)
                _log_failure(market_id, when, problem)
                failures[market_id] = problem
            on_progress(number, len(markets))
        try:
            while await self.keeper.pin_open():
                pass
        except PinError:
            _refuse(failures)  # which no later maintenance of pins would report
            raise
        _refuse(failures)
        return [await self._result(each) for each in built]

    async def _build(self, market_id: MarketId, day: date, *, once: bool) -> BuiltSnapshot:
        """Build the snapshot of a market, with a second attempt if PostgreSQL failed and is available again."""
        try:
            return await self._builder.build(market_id, day, once=once)
        except StoreError as problem:
            await self._raise_if_outage(problem)
            return await self._builder.build(market_id, day, once=once)

    async def _raise_if_outage(self, problem: Exception) -> None:
        """Raise the error of a database that is unavailable or takes no writes; return if one market alone failed, such
        as by a document that is too large for the connection."""
        if isinstance(problem, ReadOnly):
            raise problem
        if isinstance(problem, StoreError):
            await snapshot_source.markets(self.pool)

    async def run_one(self, market: str, day: date | None = None) -> SnapshotResult:
        """Take the snapshot of a market, named by id or address, and return it. Raises NotFound, Conflict, PinError."""
        ref = parse_market(market)
        market_id = None if ref is None else ref.id or await markets.id_of(self.pool, ref)
        if market_id is None:
            raise NotFound(f"There is no market {market[:70]}.")
        built = await self._builder.build(market_id, day or today())
        await self.keeper.pin_open(built.market_id)
        return await self._result(built)

    async def maintain(self) -> PinMaintenance:
        """Pin documents that are not verified, and unpin those whose retention is over. Raises PinError."""
        verified = await self.keeper.pin_open()
        return PinMaintenance(verified=verified, unpinned=await self.keeper.unpin_expired())

    async def _result(self, built: BuiltSnapshot) -> SnapshotResult:
        anchor = await anchors.snapshot_status(self.pool, built.market_id)
        verified = anchor is not None and anchor.cid == built.cid and anchor.verified_at is not None
        return SnapshotResult(
            market_id=built.market_id,
            cid=built.cid,
            day=anchor.snapshot_day.isoformat() if anchor else "",
            is_new=built.is_new,
            verified=verified,
            error=anchor.last_error if anchor and not verified else None,
        )


def _log_failure(market_id: MarketId, day: date, problem: Exception) -> None:
    metrics.refused.inc()
    log.warning(
        "snapshot refused",
        market=market_id,
        day=day.isoformat(),
        error=reason_of(problem),
        exc_info=not isinstance(problem, ZmartError),
    )


def _refuse(failures: Mapping[MarketId, Exception]) -> None:
    """Raise Conflict with the first failure; return if there is none."""
    for market_id, problem in failures.items():
        raise Conflict(f"{len(failures)} market(s) got no snapshot. {market_id}: {reason_of(problem)}")


def today() -> date:
    """Return the day to which a snapshot taken now belongs, in UTC."""
    return datetime.now(UTC).date()
