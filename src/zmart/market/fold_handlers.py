"""Apply events to their market, with one handler for each kind of event.

`fold.apply` has checked before that the market's state allows the event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from zmart.market import events as e
from zmart.market.fold_books import Books, books
from zmart.market.fold_config import ConfigHistory, chain_key
from zmart.market.fold_positions import after_buy, after_claim, after_sell
from zmart.market.fold_state import FoldedTrade, FoldedVote, FoldStep, MarketFold, PositionFold
from zmart.market.fold_trades import price_buy, price_sell
from zmart.market.lifecycle import FoldError
from zmart.market.pricing import PricingModel, PricingModelName, TradeFees, pricing_model
from zmart.market.types import (
    PRICE_ONE,
    Address,
    Lamports,
    MarketId,
    MarketState,
    PriceE9,
    Side,
    VoteKind,
)

BIGINT_MAX = 2**63 - 1


class FoldRules(msgspec.Struct, frozen=True):
    """Hold what a fold needs besides events: the program's pricing, its accounting, its configs and its addresses."""

    model: PricingModel
    books: Books
    configs: ConfigHistory
    address_of: Callable[[MarketId], Address]

    @classmethod
    def of(
        cls, name: PricingModelName, configs: ConfigHistory, address_of: Callable[[MarketId], Address]
    ) -> FoldRules:
        """Build the rules of the program that the pricing model mirrors."""
        return cls(pricing_model(name), books(name), configs, address_of)


Handler = Callable[[MarketFold, PositionFold | None, e.ChainEvent, FoldRules], FoldStep]
"""A function that takes the market with its next state, the user's position, the event and the rules."""


def created(body: e.MarketCreated, event: e.ChainEvent, rules: FoldRules) -> MarketFold:
    """Return the new market of a MarketCreated event. A deposit that is unknown counts as 0."""
    opening = rules.books.opening_shares(body.b_parameter)
    return MarketFold(
        market_id=body.market_id,
        address=rules.address_of(body.market_id),
        creator=body.creator,
        state=MarketState.PROPOSED,
        b_parameter=body.b_parameter,
        initial_liquidity=body.initial_liquidity or Lamports(0),
        current_liquidity=body.initial_liquidity or Lamports(0),
        shares_yes=opening,
        shares_no=opening,
        price_yes_e9=PriceE9(PRICE_ONE // 2),
        question_cid=body.ipfs_question_hash,
        created_at=body.timestamp,
        created_slot=event.slot,
        updated_slot=event.slot,
    )


def _simply(change: Callable[[Any], dict[str, object]]) -> Handler:
    """Return a handler for an event that only sets fields of the market."""

    def handle(market: MarketFold, _: PositionFold | None, event: e.ChainEvent, __: FoldRules) -> FoldStep:
        return FoldStep(replace(market, **change(event.event)))

    return handle


def _voted(kind: VoteKind) -> Handler:
    def handle(market: MarketFold, _: PositionFold | None, event: e.ChainEvent, __: FoldRules) -> FoldStep:
        body = event.event
        assert isinstance(body, e.ProposalVoteSubmitted | e.DisputeVoteSubmitted)
        vote = FoldedVote(
            market_id=market.market_id,
            kind=kind,
            wallet=body.user,
            vote=body.vote,
            signature=event.signature,
            slot=event.slot,
            voted_at=body.timestamp,
        )
        return FoldStep(market, None, vote)

    return handle


def _activated(market: MarketFold, _: PositionFold | None, event: e.ChainEvent, __: FoldRules) -> FoldStep:
    body = event.event
    assert isinstance(body, e.MarketActivated)
    after = replace(market, activated_at=body.timestamp)
    if market.initial_liquidity == 0:
        return FoldStep(
            replace(
                after,
                initial_liquidity=body.initial_liquidity,
                current_liquidity=market.current_liquidity + body.initial_liquidity,
            )
        )
    if market.initial_liquidity != body.initial_liquidity:
        raise FoldError(f"the deposit was {market.initial_liquidity} lamports, now {body.initial_liquidity}")
    return FoldStep(after)


def _bought(
    market: MarketFold, position: PositionFold | None, event: e.ChainEvent, rules: FoldRules
) -> FoldStep:
    body = event.event
    assert isinstance(body, e.SharesBought)
    cost, fees = price_buy(rules.model, market, rules.configs.fees_at(chain_key(event)), body)
    after = _traded(rules.books.buy(market, cost, fees), position, body, body.shares)
    return FoldStep(
        after, after_buy(position, body, event.slot), _trade(event, body, body.cost, Side.BUY, fees)
    )


def _sold(
    market: MarketFold, position: PositionFold | None, event: e.ChainEvent, rules: FoldRules
) -> FoldStep:
    body = event.event
    assert isinstance(body, e.SharesSold)
    held = after_sell(position, body, event.slot)
    gross, fees = price_sell(rules.model, market, rules.configs.fees_at(chain_key(event)), body)
    after = _traded(rules.books.sell(market, gross, fees), position, body, -body.shares)
    return FoldStep(after, held, _trade(event, body, body.proceeds, Side.SELL, fees))


def _traded(
    market: MarketFold, position: PositionFold | None, body: e.SharesBought | e.SharesSold, shares: int
) -> MarketFold:
    side = "shares_yes" if body.outcome else "shares_no"
    return replace(
        market,
        **{side: getattr(market, side) + shares},
        price_yes_e9=body.new_price_yes,
        trades_count=market.trades_count + 1,
        traders=market.traders + (position is None),
    )


def _trade(
    event: e.ChainEvent,
    body: e.SharesBought | e.SharesSold,
    cost_lamports: Lamports,
    side: Side,
    fees: TradeFees,
) -> FoldedTrade:
    if cost_lamports > BIGINT_MAX:
        raise FoldError(f"{cost_lamports} lamports are more than there are")
    return FoldedTrade(
        signature=event.signature,
        ordinal=event.ordinal,
        market_id=body.market_id,
        wallet=body.user,
        side=side,
        outcome=body.outcome,
        shares=body.shares,
        cost_lamports=cost_lamports,
        protocol_fee_lamports=fees.protocol,
        resolver_fee_lamports=fees.resolver,
        lp_fee_lamports=fees.lp,
        price_yes_after_e9=body.new_price_yes,
        slot=event.slot,
        index_in_block=event.index_in_block or 0,
        traded_at=body.timestamp,
    )


def _dispute_counted(body: e.DisputeAggregated) -> dict[str, object]:
    counted: dict[str, object] = {
        "dispute_agree": body.agrees,
        "dispute_disagree": body.disagrees,
        "was_disputed": True,
    }
    return counted if body.dispute_succeeded else {**counted, "resolved_at": body.timestamp}


def _disputed(body: e.DisputeInitiated) -> dict[str, object]:
    return {
        "dispute_initiator": body.initiator,
        "dispute_initiated_at": body.timestamp,
        "dispute_agree": 0,
        "dispute_disagree": 0,
    }


def _resolved(body: e.MarketResolved) -> dict[str, object]:
    return {
        "resolver": body.resolver,
        "proposed_outcome": body.outcome,
        "evidence_cid": body.evidence_hash,
        "resolution_proposed_at": body.timestamp,
    }


def _finalized(market: MarketFold, _: PositionFold | None, event: e.ChainEvent, __: FoldRules) -> FoldStep:
    body = event.event
    assert isinstance(body, e.MarketFinalized)
    if not body.was_disputed and body.final_outcome != market.proposed_outcome:
        raise FoldError("an undisputed market is finalized with another outcome than the proposed one")
    counts: dict[str, object] = {}
    if body.was_disputed and body.dispute_agree is not None and body.dispute_disagree is not None:
        counts = {"dispute_agree": body.dispute_agree, "dispute_disagree": body.dispute_disagree}
    after = replace(
        market,
        final_outcome=body.final_outcome,
        was_disputed=body.was_disputed,
        finalized_at=body.timestamp,
        **counts,
    )
    return FoldStep(after)


def _claimed(
    market: MarketFold, position: PositionFold | None, event: e.ChainEvent, rules: FoldRules
) -> FoldStep:
    body = event.event
    assert isinstance(body, e.WinningsClaimed)
    held = after_claim(position, body, event.slot)
    assert position is not None  # after_claim refuses otherwise
    if body.outcome != market.final_outcome:
        raise FoldError("the claim names another outcome than the final one")
    return FoldStep(rules.books.claim(market, position, body.amount), held)


def _withdrawn(market: MarketFold, _: PositionFold | None, event: e.ChainEvent, rules: FoldRules) -> FoldStep:
    body = event.event
    assert isinstance(body, e.LiquidityWithdrawn)
    if body.creator != market.creator:
        return FoldStep(rules.books.withdraw_owed(market))
    # No event stated the deposit before the market was cancelled. All of it is withdrawn.
    if market.initial_liquidity == 0:
        market = replace(market, initial_liquidity=body.amount, current_liquidity=body.amount)
    return FoldStep(rules.books.withdraw(market, body.amount))


HANDLERS: Mapping[type[e.Event], Handler] = {
    e.ProposalVoteSubmitted: _voted(VoteKind.PROPOSAL),
    e.ProposalAggregated: _simply(
        lambda body: {
            "proposal_likes": body.likes,
            "proposal_dislikes": body.dislikes,
            "proposal_aggregated_at": body.timestamp,
        }
    ),
    e.ProposalApproved: _simply(lambda body: {"approved_at": body.timestamp}),
    e.MarketActivated: _activated,
    e.SharesBought: _bought,
    e.SharesSold: _sold,
    e.MarketResolved: _simply(_resolved),
    e.DisputeInitiated: _simply(_disputed),
    e.DisputeVoteSubmitted: _voted(VoteKind.DISPUTE),
    e.DisputeAggregated: _simply(_dispute_counted),
    e.MarketFinalized: _finalized,
    e.WinningsClaimed: _claimed,
    e.LiquidityWithdrawn: _withdrawn,
    e.MarketCancelled: _simply(lambda body: {"cancelled_at": body.cancelled_at}),
}
