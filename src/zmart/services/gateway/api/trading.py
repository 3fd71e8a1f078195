"""Handle trades, claims and withdrawals: quote, and build the transaction for the user's wallet to sign."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, post

from zmart.client.shapes import transactions as shapes
from zmart.errors import Conflict, Forbidden
from zmart.market.amounts import amount_text, held_text
from zmart.market.events import LiquidityWithdrawn, WinningsClaimed
from zmart.market.outcomes import side_name
from zmart.market.types import Lamports, MarketState, Side, Wallet
from zmart.services.gateway.api import lookup, quotes, schemas, transaction_builder
from zmart.services.gateway.api.quotes import TradeOrder
from zmart.services.gateway.api.transaction_builder import MarketOnChain
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.former_names import FORMER_NAMES
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.security import WALLET
from zmart.services.gateway.openapi.declarations import A_MARKET, example, refusals
from zmart.services.request_body import RequestBody


class Buy(RequestBody, frozen=True, kw_only=True):
    """A purchase of `shares`, or of shares for `max_cost` (lamports, fees included), or both: those shares for at most
    that cost. `outcome`: true or YES is YES.

    The wallet signs `max_cost` and `min_shares` as bounds. `min_shares` is by default the quoted number less
    `slippage_bps` (default 100). An order with `shares` and with `max_cost` or `slippage_bps` accepts no fewer shares.
    A program without that bound (v0.69) refuses `min_shares`.
    """

    any_of = ("max_cost", "shares")
    market_id: schemas.MarketKeyText
    outcome: bool | schemas.Outcome
    max_cost: schemas.Amount | None = None
    shares: schemas.Amount | None = None
    min_shares: schemas.AmountOrNone | None = None
    slippage_bps: schemas.Bps | None = None


class Sell(RequestBody, frozen=True, kw_only=True):
    """A sale of `shares`. `outcome`: true or YES is YES. The wallet signs `min_proceeds` (lamports after fees) as a
    bound; by default it is the quoted amount less `slippage_bps` (default 100)."""

    market_id: schemas.MarketKeyText
    outcome: bool | schemas.Outcome
    shares: schemas.Amount
    min_proceeds: schemas.AmountOrNone | None = None
    slippage_bps: schemas.Bps | None = None


class OnMarket(RequestBody, frozen=True, kw_only=True):
    """The market of a claim or a withdrawal."""

    market_id: schemas.MarketKeyText


_A_PURCHASE = example(market_id=A_MARKET, outcome=True, max_cost=1_000_000_000)
_A_SALE = example(market_id=A_MARKET, outcome=True, shares=500_000_000)
_A_CLAIM = example(market_id=A_MARKET)


@post(
    "/buy",
    status_code=200,
    operation_id="Buy",
    responses=refusals(404, 409),
    opt={FORMER_NAMES: {"target_cost": "max_cost"}},
)
async def buy(context: Context, auth: Auth, data: Annotated[Buy, _A_PURCHASE]) -> shapes.TradeTransaction:
    """Build the transaction that buys shares, with its quote."""
    order = TradeOrder(
        side=Side.BUY,
        outcome=_outcome(data.outcome),
        shares=data.shares,
        max_cost=data.max_cost,
        min_shares=data.min_shares,
        slippage_bps=data.slippage_bps,
    )
    return await _trade(context, auth, data.market_id, order)


@post(
    "/sell",
    status_code=200,
    operation_id="Sell",
    responses=refusals(404, 409),
    opt={FORMER_NAMES: {"shares_to_sell": "shares"}},
)
async def sell(context: Context, auth: Auth, data: Annotated[Sell, _A_SALE]) -> shapes.TradeTransaction:
    """Build the transaction that sells shares, with its quote."""
    order = TradeOrder(
        side=Side.SELL,
        outcome=_outcome(data.outcome),
        shares=data.shares,
        min_proceeds=data.min_proceeds,
        slippage_bps=data.slippage_bps,
    )
    return await _trade(context, auth, data.market_id, order)


def _outcome(value: bool | schemas.Outcome) -> bool:
    return value is True or value is schemas.Outcome.YES


async def _trade(
    context: AppContext, auth: RequestAuth, market: str, order: TradeOrder
) -> shapes.TradeTransaction:
    order.check()
    ref = lookup.market_in_body(market)
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref, wallet)
    _needs(on_chain, MarketState.ACTIVE, "trade")
    if order.side is Side.SELL:
        _holds(on_chain, order)
    market_id = on_chain.account.market_id
    quote = quotes.quote(context.pricing, market_id, on_chain.quantities, on_chain.fees, order)
    fee_wallet = on_chain.config.protocol_fee_wallet
    build = context.program.instructions
    if order.side is Side.BUY:
        bound = quote.max_cost or Lamports(0)
        instruction = build.buy_shares(
            wallet,
            market_id,
            fee_wallet,
            outcome=order.outcome,
            target_cost=bound,
            min_shares=quote.min_shares,
        )
    else:
        instruction = build.sell_shares(
            wallet,
            market_id,
            fee_wallet,
            outcome=order.outcome,
            shares_to_sell=quote.shares,
            min_proceeds=quote.min_proceeds or Lamports(0),
        )
    built = await transaction_builder.build(context, wallet, [instruction])
    return shapes.TradeTransaction(**transaction_builder.parts(on_chain, built), quote=quote)


def _holds(on_chain: MarketOnChain, order: TradeOrder) -> None:
    held = 0
    if on_chain.position is not None:
        held = on_chain.position.shares_yes if order.outcome else on_chain.position.shares_no
    sold_shares = order.shares or 0
    if held < sold_shares:
        raise Conflict(
            f"You hold {held_text(held)} {side_name(order.outcome)} shares: {amount_text(sold_shares)} cannot be sold."
        )


@post("/claim", status_code=200, operation_id="Claim", responses=refusals(404, 409))
async def claim(context: Context, auth: Auth, data: Annotated[OnMarket, _A_CLAIM]) -> shapes.ClaimTransaction:
    """Build the transaction that claims the winnings of a finalized market."""
    ref = lookup.market_in_body(data.market_id)
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref, wallet)
    _needs(on_chain, MarketState.FINALIZED, "claim")
    if on_chain.position is None:
        raise Conflict("This wallet never traded in this market: there is nothing to claim.")
    if on_chain.position.has_claimed:
        raise Conflict("This wallet has claimed its winnings already.")
    account = on_chain.account
    instruction = context.program.instructions.claim_winnings(
        wallet, account.market_id, account.resolver, on_chain.creditors
    )
    built = await transaction_builder.build(context, wallet, [instruction])
    paid = sum(event.amount for event in built.events if isinstance(event, WinningsClaimed))
    return shapes.ClaimTransaction(
        **transaction_builder.parts(on_chain, built), payout=Lamports(paid), debts=on_chain.debts
    )


@post("/withdraw", status_code=200, operation_id="Withdraw", responses=refusals(403, 404, 409))
async def withdraw(
    context: Context, auth: Auth, data: Annotated[OnMarket, _A_CLAIM]
) -> shapes.WithdrawTransaction:
    """Build the transaction that withdraws from a market that has ended: for its creator the liquidity that no claim
    can need any more, for another wallet what the market owes it."""
    ref = lookup.market_in_body(data.market_id)
    wallet = await auth.wallet()
    on_chain = await transaction_builder.on_chain(context, ref)
    _may_withdraw(on_chain, wallet)
    if on_chain.account.state not in (MarketState.FINALIZED, MarketState.CANCELLED):
        raise Conflict(f"Liquidity is withdrawn after the end; this market is {on_chain.account.state.name}.")
    instruction = context.program.instructions.withdraw_liquidity(
        wallet, on_chain.account.market_id, on_chain.creditors
    )
    built = await transaction_builder.build(context, wallet, [instruction])
    paid = sum(event.amount for event in built.events if isinstance(event, LiquidityWithdrawn))
    return shapes.WithdrawTransaction(
        **transaction_builder.parts(on_chain, built), amount=Lamports(paid), debts=on_chain.debts
    )


def _may_withdraw(on_chain: MarketOnChain, wallet: Wallet) -> None:
    if wallet != on_chain.account.creator and wallet not in on_chain.creditors:
        raise Forbidden(
            f"Only the creator {on_chain.account.creator} withdraws liquidity, and the market owes {wallet} nothing."
        )


def _needs(on_chain: MarketOnChain, state: MarketState, what: str) -> None:
    if on_chain.account.state is not state:
        raise Conflict(
            f"To {what} needs a market in {state.name}; this one is {on_chain.account.state.name}."
        )


ROUTER = Router("/api/trades", route_handlers=[buy, sell, claim, withdraw], tags=["trading"], security=WALLET)
