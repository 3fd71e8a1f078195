"""A run: build the day's snapshots and see them through. What the schedule, the command and the route all do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import msgspec

from zmart.errors import NotFound
from zmart.feed.channels import is_market_id
from zmart.ipfs.pinning import PinataClient
from zmart.market.types import MarketId
from zmart.services.snapshots.building import Builder, Built
from zmart.services.snapshots.keeping import Keeper
from zmart.settings import Settings
from zmart.store import anchors, live_state, snapshot_source
from zmart.store.pool import Pool


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A market's snapshot as it stands after a run; `error` says why it is not verified."""

    market_id: MarketId
    cid: str
    day: str
    is_new: bool
    verified: bool
    error: str | None


class Runs:
    """`everything()` for all markets worth keeping, `one(market)` for a market that is named."""

    def __init__(self, pool: Pool, builder: Builder, keeper: Keeper) -> None:
        self.pool = pool
        self.keeper = keeper
        self._builder = builder

    @classmethod
    def with_provider(cls, pool: Pool, pins: PinataClient, settings: Settings) -> Runs:
        keeper = Keeper(pool, pins, settings.ipfs_gateway_url, settings.snapshot_keep_days)
        return cls(pool, Builder(pool, settings.solana_program_id_core, keeper.provider), keeper)

    async def everything(
        self, day: date | None = None, told: Callable[[int, int], None] = lambda done, of: None
    ) -> list[Made]:
        """Today's snapshots; `told(done, of)` hears how far it is. Raises PinError when the provider is away,
        after everything has been written down."""
        when = day or today()
        markets = await snapshot_source.markets(self.pool)
        built: list[Built] = []
        for number, market_id in enumerate(markets, start=1):
            built.append(await self._builder.build(market_id, when))
            told(number, len(markets))
        while await self.keeper.settle():
            pass
        return [await self._made(each) for each in built]

    async def one(self, market: str, day: date | None = None) -> Made:
        """The snapshot of a market, named by id or address. Raises NotFound, Conflict, PinError."""
        market_id = market if is_market_id(market) else await live_state.market_id_at(self.pool, market)
        if market_id is None:
            raise NotFound(f"There is no market {market[:70]}.")
        built = await self._builder.build(MarketId(market_id), day or today())
        await self.keeper.settle(built.market_id)
        return await self._made(built)

    async def look_after(self) -> None:
        """What is open, and what has had its time. Raises PinError."""
        await self.keeper.settle()
        await self.keeper.give_up_old()

    async def _made(self, built: Built) -> Made:
        standing = await anchors.standing(self.pool, built.market_id)
        verified = standing is not None and standing.cid == built.cid and standing.verified_at is not None
        return Made(
            market_id=built.market_id,
            cid=built.cid,
            day=standing.snapshot_day.isoformat() if standing else "",
            is_new=built.is_new,
            verified=verified,
            error=standing.last_error if standing and not verified else None,
        )


def today() -> date:
    """The day that a snapshot made now belongs to, in UTC."""
    return datetime.now(UTC).date()
