"""Handle the list of the wallets that have positions in a market."""

from __future__ import annotations

from litestar import get

from zmart.client.shapes import people as shapes
from zmart.market.amounts import percent
from zmart.services.gateway.api import lookup, paging
from zmart.services.gateway.api.paging import Limit, Offset
from zmart.services.gateway.api.parameters import MarketKeyInPath
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.openapi.declarations import refusals
from zmart.store import positions
from zmart.store.markets import MarketRow
from zmart.store.positions import PositionRow


@get("/holders", operation_id="GetHolders", responses=refusals(404), opt={CHAIN: True})
async def holders(
    context: Context, key: MarketKeyInPath, limit: Limit = 50, offset: Offset = 0
) -> shapes.Holders:
    """List a market's positions, the largest first, in three lists: all, those with YES shares, those with NO shares.
    `limit` and `offset` apply to each list."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    count, yes, no = await positions.holder_counts(context.pool, row.market_id)
    all_positions = await positions.of_market(context.pool, row.market_id, size, skipped)
    sides = [
        await positions.holders(context.pool, row.market_id, side, size, skipped) for side in (True, False)
    ]
    lists = [[_holder(item, row) for item in group] for group in (all_positions, *sides)]
    return shapes.Holders(
        market_id=row.market_id,
        holders=lists[0],
        yes=lists[1],
        no=lists[2],
        count=count,
        yes_count=yes,
        no_count=no,
    )


def _holder(item: PositionRow, market: MarketRow) -> shapes.Holder:
    return shapes.Holder(
        wallet=item.wallet,
        shares_yes=item.shares_yes,
        shares_no=item.shares_no,
        percent_yes=percent(item.shares_yes, market.shares_yes),
        percent_no=percent(item.shares_no, market.shares_no),
        total_invested=item.total_invested,
        trades=item.trades_count,
        has_claimed=item.has_claimed,
        claimed_lamports=item.claimed_lamports,
    )
