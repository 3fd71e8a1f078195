"""Quote trades: cost or proceeds, and the bounds that the wallet signs."""

from __future__ import annotations

import msgspec

from zmart.client.shapes.tape import Quote, QuotedFees
from zmart.errors import Conflict, Invalid
from zmart.market.amounts import amount_text, price_text, ratio_text
from zmart.market.outcomes import side_name
from zmart.market.pricing import BuyQuote, FeeSchedule, PricingModel, Quantities, SellQuote
from zmart.market.types import BPS_ONE, PRICE_ONE, Lamports, MarketId, Shares, Side

DEFAULT_SLIPPAGE_BPS = 100


class TradeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that a user requests. `outcome`: true is YES. A sale has `shares`. A buy has `shares`, or `max_cost`
    (lamports, fees included), or both: those shares for at most that cost.

    A sale is bounded by `min_proceeds` (lamports after fees), a buy by `min_shares`. By default these bounds follow
    from the quote and from `slippage_bps` (basis points).
    """

    side: Side
    outcome: bool
    shares: int | None = None
    max_cost: int | None = None
    min_shares: int | None = None
    min_proceeds: int | None = None
    slippage_bps: int | None = None

    def check(self) -> None:
        """Check that the order has the amounts that its side needs, and a sale no `min_shares`. Raises Invalid."""
        if self.side is Side.SELL and self.shares is None:
            raise Invalid("shares", "A sale needs `shares`.")
        if self.side is Side.BUY and self.shares is None and self.max_cost is None:
            raise Invalid("max_cost", "A buy needs `max_cost` or `shares`, or both.")
        if self.side is Side.SELL and self.min_shares is not None:
            raise Invalid("min_shares", "`min_shares` is for a buy; a sale is bounded by `min_proceeds`.")

    @property
    def tolerance_bps(self) -> int:
        """Return the accepted slippage in basis points: `slippage_bps`, or DEFAULT_SLIPPAGE_BPS if it is None."""
        return DEFAULT_SLIPPAGE_BPS if self.slippage_bps is None else self.slippage_bps


def quote(
    pricing: PricingModel, market_id: MarketId, quantities: Quantities, fees: FeeSchedule, order: TradeOrder
) -> Quote:
    """Quote a trade as the program would execute it at these quantities.

    Raises PricingError if the program would refuse it, Conflict if `shares` cost more than `max_cost`, Invalid for a
    `min_shares` that the program cannot enforce.
    """
    if order.side is Side.BUY:
        return _buy(pricing, market_id, quantities, fees, order)
    return _sell(pricing, market_id, quantities, fees, order)


def _buy(
    pricing: PricingModel, market_id: MarketId, quantities: Quantities, fees: FeeSchedule, order: TradeOrder
) -> Quote:
    """Quote a buy at the highest cost that the wallet signs, because the program buys shares for as much of it as
    possible.

    That cost is `max_cost`, or what `shares` cost now. Only an explicit `slippage_bps` raises what `shares` cost, up to
    `max_cost`; the default slippage does not, because the program would spend it. Raises Conflict when `shares` cost
    more than `max_cost`.
    """
    target = order.max_cost
    if order.shares is not None:
        exact = pricing.cost_of_shares(quantities, fees, order.outcome, order.shares)
        if target is not None and exact > target:
            cost, bound = amount_text(exact), amount_text(target)
            raise Conflict(
                f"These shares cost {cost} SOL now with fees, which is more than max_cost ({bound} SOL)."
            )
        raised = -(-exact * (BPS_ONE + (order.slippage_bps or 0)) // BPS_ONE)
        target = raised if target is None else min(raised, target)
    assert target is not None
    priced = pricing.buy_total(quantities, fees, order.outcome, target)
    least = _min_shares(pricing, order, priced.shares)
    return _quoted(
        pricing,
        market_id,
        quantities,
        order,
        priced,
        cost=priced.cost,
        total=priced.total,
        max_cost=Lamports(target),
        min_shares=least,
        slippage_bps=order.tolerance_bps if least is not None else order.slippage_bps or 0,
    )


def _min_shares(pricing: PricingModel, order: TradeOrder, quoted: Shares) -> Shares | None:
    """Return the number of shares below which the program refuses the buy; None if the program has no such bound.

    It is `min_shares` if that is given, else the quoted number less the accepted slippage. An order with `shares` and
    with `slippage_bps` or `max_cost` accepts no fewer than `shares`, or than the quoted number if that is smaller.
    Raises Invalid for a given `min_shares` where the program has no such bound.
    """
    if not pricing.bounds_shares:
        if order.min_shares is not None:
            raise Invalid("min_shares", "The deployed program bounds the cost of a buy only, not its shares.")
        return None
    if order.min_shares is not None:
        return Shares(order.min_shares)
    tolerated = quoted * (BPS_ONE - order.tolerance_bps) // BPS_ONE
    is_strict = order.slippage_bps is not None or order.max_cost is not None
    requested = order.shares if is_strict else None
    return Shares(max(tolerated, min(requested or 0, quoted)))


def _sell(
    pricing: PricingModel, market_id: MarketId, quantities: Quantities, fees: FeeSchedule, order: TradeOrder
) -> Quote:
    assert order.shares is not None
    priced = pricing.sell_total(quantities, fees, order.outcome, order.shares)
    least = priced.net * (BPS_ONE - order.tolerance_bps) // BPS_ONE
    return _quoted(
        pricing,
        market_id,
        quantities,
        order,
        priced,
        cost=priced.gross,
        total=priced.net,
        net=priced.net,
        min_proceeds=Lamports(least if order.min_proceeds is None else order.min_proceeds),
        slippage_bps=order.tolerance_bps,
    )


def _quoted(
    pricing: PricingModel,
    market_id: MarketId,
    quantities: Quantities,
    order: TradeOrder,
    priced: BuyQuote | SellQuote,
    *,
    cost: Lamports,
    total: Lamports,
    slippage_bps: int,
    net: Lamports | None = None,
    max_cost: Lamports | None = None,
    min_shares: Shares | None = None,
    min_proceeds: Lamports | None = None,
) -> Quote:
    """Return the Quote of a trade. `cost` is without its fees and `total` with them, in lamports. The bounds of the
    other side are None."""
    return Quote(
        market_id=market_id,
        side=order.side.value,
        outcome=side_name(order.outcome),
        shares=priced.shares,
        cost=cost,
        fees=QuotedFees(
            protocol=priced.fees.protocol,
            resolver=priced.fees.resolver,
            liquidity_provider=priced.fees.lp,
            total=priced.fees.total,
        ),
        total=total,
        net=net,
        average_price=ratio_text(total, priced.shares),
        price_yes=price_text(priced.price_yes_before),
        price_yes_after=price_text(priced.price_yes_after),
        price_impact_percent=_impact(order.outcome, priced.price_yes_before, priced.price_yes_after),
        max_cost=max_cost,
        min_shares=min_shares,
        min_proceeds=min_proceeds,
        slippage_bps=slippage_bps,
        max_loss=pricing.max_loss(quantities.b),
        pricing_model=pricing.name,
    )


def _impact(outcome: bool, before_e9: int, after_e9: int) -> float:
    """Return the change of the traded side's price, in percent of that price before the trade."""
    before = before_e9 if outcome else PRICE_ONE - before_e9
    after = after_e9 if outcome else PRICE_ONE - after_e9
    return round((after - before) * 100 / before, 4) if before else 0.0
