"""Each of the program's 18 events changes the fold as it changes the accounts. The events are the wire vectors'."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.chain_story import PROGRAM, key
from zmart.errors import PricingError
from zmart.market import events as e
from zmart.market.fold import Folded, FoldRules, ImpossibleEvent, apply, fold
from zmart.market.fold_config import ConfigFold, ConfigHistory, apply_config
from zmart.market.fold_state import FoldedTrade, FoldedVote, MarketFold, PositionFold
from zmart.market.fold_trades import _before_fees
from zmart.market.lifecycle import ALLOWED_IN, FoldError, next_state
from zmart.market.pricing import FeeSchedule, pricing_model
from zmart.market.types import MarketState, Side, VoteKind

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/pricing_and_wire_vectors.json").read_text())
WIRE = VECTORS["wire"]["event_program_data_base64"]
MODEL = pricing_model("reference")
SOL = 1_000_000_000
B = 10 * SOL


def from_wire(name, **changes):
    event = PROGRAM.events.decode(base64.b64decode(WIRE[name]))
    return msgspec.structs.replace(event, **changes)


def at(event, slot=50, ordinal=0):
    return e.ChainEvent(signature="sig", ordinal=ordinal, slot=slot, index_in_block=0, event=event)


def rules(name="reference", *extra):
    started = at(from_wire("GlobalConfigInitialized", protocol_fee_bps=300), slot=1)
    return FoldRules.of(name, ConfigHistory([started, *extra]), PROGRAM.addresses.market)


RULES = rules()
CREATED = from_wire("MarketCreated", b_parameter=B, initial_liquidity=7 * SOL, ipfs_question_hash="Qm")


def market(state=MarketState.PROPOSED, **changes):
    made = apply(None, None, at(CREATED, slot=10), RULES).market
    return msgspec.structs.replace(made, state=state, **changes)


def position(user, **changes):
    values = {
        "market_id": CREATED.market_id,
        "wallet": user,
        "first_trade_at": 1,
        "last_trade_at": 1,
        "updated_slot": 20,
    } | changes
    return PositionFold(**values)


def changed(before, after):
    names = MarketFold.__struct_fields__
    return {n: getattr(after, n) for n in names if getattr(after, n) != getattr(before, n)}


def step(before, event, held=None, using=RULES):
    result = apply(before, held, at(event), using)
    difference = changed(before, result.market)
    assert result.market.updated_slot == 50
    difference.pop("updated_slot", None)
    assert difference.pop("events_count") == before.events_count + 1
    return difference, result


def test_market_created():
    made = market()
    assert made.address == PROGRAM.addresses.market(made.market_id)
    assert (made.state, made.initial_liquidity, made.current_liquidity) == (
        MarketState.PROPOSED,
        7 * SOL,
        7 * SOL,
    )
    assert (made.shares_yes, made.shares_no, made.price_yes_e9) == (0, 0, 500_000_000)
    assert (made.question_cid, made.created_at, made.created_slot) == ("Qm", CREATED.timestamp, 10)


def test_market_created_by_the_deployed_program_starts_with_a_thousandth_of_b():
    made = apply(None, None, at(CREATED), rules("v069")).market
    assert (made.shares_yes, made.shares_no) == (B // 1000, B // 1000)


@pytest.mark.parametrize(
    ("name", "state", "kind"),
    [
        ("ProposalVoteSubmitted", MarketState.PROPOSED, VoteKind.PROPOSAL),
        ("DisputeVoteSubmitted", MarketState.DISPUTED, VoteKind.DISPUTE),
    ],
)
def test_votes_leave_a_row_and_the_market_alone(name, state, kind):
    event = from_wire(name)
    difference, result = step(market(state), event)
    assert difference == {}
    assert isinstance(result.row, FoldedVote)
    assert (result.row.kind, result.row.wallet, result.row.vote) == (kind, event.user, event.vote)


def test_proposal_aggregated_records_counts_and_keeps_the_state():
    event = from_wire("ProposalAggregated")
    difference, _ = step(market(), event)
    assert difference == {
        "proposal_likes": event.likes,
        "proposal_dislikes": event.dislikes,
        "proposal_aggregated_at": event.timestamp,
    }


def test_proposal_approved():
    event = from_wire("ProposalApproved")
    assert step(market(), event)[0] == {"state": MarketState.APPROVED, "approved_at": event.timestamp}


def test_market_activated():
    event = from_wire("MarketActivated", initial_liquidity=7 * SOL)
    difference, _ = step(market(MarketState.APPROVED), event)
    assert difference == {"state": MarketState.ACTIVE, "activated_at": event.timestamp}


def test_market_activated_tells_a_deposit_that_was_not_known():
    unknown = market(MarketState.APPROVED, initial_liquidity=0, current_liquidity=0)
    difference, _ = step(unknown, from_wire("MarketActivated", initial_liquidity=7 * SOL))
    assert (difference["initial_liquidity"], difference["current_liquidity"]) == (7 * SOL, 7 * SOL)


def bought(**changes):
    quote = MODEL.buy_total(_quantities(market()), FeeSchedule(300, 200, 500), True, SOL)
    values = {
        "outcome": True,
        "shares": quote.shares,
        "cost": quote.total,
        "new_price_yes": quote.price_yes_after,
    }
    return quote, from_wire("SharesBought", **(values | changes))


def _quantities(of):
    from zmart.market.pricing import Quantities

    return Quantities(of.shares_yes, of.shares_no, of.b_parameter)


def test_shares_bought_moves_the_pool_by_the_cost_and_splits_the_fees():
    quote, event = bought()
    difference, result = step(market(MarketState.ACTIVE), event)
    assert difference == {
        "shares_yes": quote.shares,
        "current_liquidity": 7 * SOL + quote.cost,
        "price_yes_e9": quote.price_yes_after,
        "total_volume": quote.total,
        "trades_count": 1,
        "traders": 1,
        "accumulated_protocol_fees": quote.fees.protocol,
        "accumulated_resolver_fees": quote.fees.resolver,
        "accumulated_lp_fees": quote.fees.lp,
    }
    held, row = result.position, result.row
    assert (held.shares_yes, held.total_invested, held.cost_basis_yes, held.trades_count) == (
        quote.shares,
        quote.total,
        quote.total,
        1,
    )
    assert isinstance(row, FoldedTrade)
    assert (row.side, row.cost_lamports, row.lp_fee_lamports) == (Side.BUY, quote.total, quote.fees.lp)


def test_shares_sold_takes_the_gross_out_and_realizes_average_cost():
    quote, event = bought()
    first = apply(market(MarketState.ACTIVE), None, at(event), RULES)
    half = quote.shares // 2
    sale = MODEL.sell_total(_quantities(first.market), FeeSchedule(300, 200, 500), True, half)
    sold = from_wire(
        "SharesSold",
        user=event.user,
        outcome=True,
        shares=half,
        proceeds=sale.net,
        new_price_yes=sale.price_yes_after,
    )
    difference, result = step(first.market, sold, first.position)
    assert difference["current_liquidity"] == first.market.current_liquidity - sale.gross
    assert difference["total_volume"] == first.market.total_volume + sale.gross
    assert difference["shares_yes"] == quote.shares - half
    assert "traders" not in difference
    basis = quote.total * half // quote.shares
    assert result.position.realized_pnl_lamports == sale.net - basis
    assert result.position.cost_basis_yes == quote.total - basis
    assert result.position.total_invested == quote.total
    assert (result.row.side, result.row.cost_lamports) == (Side.SELL, sale.net)


def test_market_resolved():
    event = from_wire("MarketResolved")
    assert step(market(MarketState.ACTIVE), event)[0] == {
        "state": MarketState.RESOLVING,
        "resolver": event.resolver,
        "proposed_outcome": event.outcome,
        "evidence_cid": event.evidence_hash,
        "resolution_proposed_at": event.timestamp,
    }


def test_dispute_initiated_starts_the_counts_at_zero():
    event = from_wire("DisputeInitiated")
    difference, result = step(market(MarketState.RESOLVING, dispute_agree=3, dispute_disagree=4), event)
    assert result.market.dispute_agree == result.market.dispute_disagree == 0
    assert difference["state"] is MarketState.DISPUTED
    assert (difference["dispute_initiator"], difference["dispute_initiated_at"]) == (
        event.initiator,
        event.timestamp,
    )


@pytest.mark.parametrize(
    ("succeeded", "state"), [(True, MarketState.RESOLVING), (False, MarketState.FINALIZED)]
)
def test_dispute_aggregated_is_a_change_of_state(succeeded, state):
    event = from_wire("DisputeAggregated", dispute_succeeded=succeeded)
    difference, result = step(market(MarketState.DISPUTED, proposed_outcome=True), event)
    assert difference == {
        "state": state,
        "was_disputed": True,
        "dispute_agree": event.agrees,
        "dispute_disagree": event.disagrees,
    } | ({} if succeeded else {"resolved_at": event.timestamp})
    assert (result.market.final_outcome, result.market.finalized_at) == (None, None)


def test_market_finalized_after_a_dispute_takes_the_counts_of_the_call():
    event = from_wire(
        "MarketFinalized", final_outcome=False, was_disputed=True, dispute_agree=6, dispute_disagree=2
    )
    assert step(market(MarketState.DISPUTED, proposed_outcome=True), event)[0] == {
        "state": MarketState.FINALIZED,
        "final_outcome": False,
        "was_disputed": True,
        "finalized_at": event.timestamp,
        "dispute_agree": 6,
        "dispute_disagree": 2,
    }


def test_an_undisputed_market_is_finalized_as_proposed():
    event = from_wire("MarketFinalized", final_outcome=True, was_disputed=False)
    difference, _ = step(market(MarketState.RESOLVING, proposed_outcome=True), event)
    assert difference["final_outcome"] is True
    with pytest.raises(FoldError, match="another outcome"):
        apply(market(MarketState.RESOLVING, proposed_outcome=False), None, at(event), RULES)


def finalized(outcome, **changes):
    values = {
        "shares_yes": 900,
        "shares_no": 400,
        "accumulated_resolver_fees": 20,
        "accumulated_lp_fees": 50,
        "final_outcome": outcome,
    }
    return market(MarketState.FINALIZED, **(values | changes))


def test_winnings_claimed_pays_one_lamport_a_share_and_the_resolver_once():
    event = from_wire("WinningsClaimed", outcome=True, amount=300)
    held = position(event.user, shares_yes=300, shares_no=9, cost_basis_yes=100, cost_basis_no=7)
    difference, result = step(finalized(True), event, held)
    assert difference == {
        "current_liquidity": 7 * SOL - 300,
        "claimed_shares": 300,
        "accumulated_resolver_fees": 0,
    }
    assert (result.position.has_claimed, result.position.claimed_lamports) == (True, 300)
    assert result.position.realized_pnl_lamports == 300 - 107
    with pytest.raises(FoldError, match="twice"):
        apply(result.market, result.position, at(event), RULES)


def test_winnings_claimed_of_an_invalid_market_pays_half_of_both_sides():
    event = from_wire("WinningsClaimed", outcome=None, amount=154)
    held = position(event.user, shares_yes=300, shares_no=9)
    difference, _ = step(finalized(None), event, held)
    assert difference == {"current_liquidity": 7 * SOL - 154, "claimed_shares": 309}


def test_winnings_claimed_from_the_deployed_program_leaves_the_pool():
    amount = 300 * 7 * SOL // 900
    event = from_wire("WinningsClaimed", outcome=True, amount=amount)
    held = position(event.user, shares_yes=300)
    difference, _ = step(finalized(True), event, held, rules("v069"))
    assert difference == {"accumulated_resolver_fees": 0}


@pytest.mark.parametrize(
    ("outcome", "claimed", "reserved", "reward"),
    [(True, 300, 600, 0), (None, 300, 500, 20), (None, 301, 500, 20)],
)
def test_liquidity_withdrawn_leaves_what_claims_need(outcome, claimed, reserved, reward):
    before = finalized(outcome, claimed_shares=claimed)
    event = from_wire("LiquidityWithdrawn", amount=7 * SOL - reserved + 50 + reward)
    difference, result = step(before, event)
    assert difference["current_liquidity"] == reserved
    assert result.market.accumulated_lp_fees == 0
    assert result.market.accumulated_resolver_fees == 20 - reward
    with pytest.raises(FoldError, match="were free"):
        apply(before, None, at(msgspec.structs.replace(event, amount=event.amount + 1)), RULES)


def test_liquidity_withdrawn_from_the_deployed_program_takes_all():
    difference, _ = step(finalized(True), from_wire("LiquidityWithdrawn", amount=5), None, rules("v069"))
    assert difference == {"current_liquidity": 0, "accumulated_lp_fees": 0}


def test_a_debt_that_another_wallet_withdraws_moves_no_book():
    """A19: a creditor's withdrawal changes no book: the debt left the books when it was noted.

    With the model v069, which has no debts, such an event is an error.
    """
    before, event = finalized(True), from_wire("LiquidityWithdrawn", creator=key(77), amount=123)
    assert step(before, event)[0] == {}
    with pytest.raises(FoldError, match="only the creator"):
        apply(before, None, at(event), rules("v069"))


def test_a_cut_log_loses_what_another_wallet_withdrew_and_nothing_else():
    """A19: from a truncated log, a creditor's withdrawal changes nothing; the creator's is computed from the books."""
    before = finalized(True, claimed_shares=300)

    def after(user):
        lost = e.Unlogged(
            instruction="withdraw_liquidity", market_id=before.market_id, user=user, arguments={}, timestamp=5
        )
        return apply(before, None, at(lost), RULES).market

    assert after(key(77)).current_liquidity == before.current_liquidity
    assert after(before.creator).current_liquidity == 600


def test_a_cancelled_market_gives_its_deposit_back():
    before = market(MarketState.CANCELLED)
    difference, _ = step(before, from_wire("LiquidityWithdrawn", amount=7 * SOL))
    assert difference == {"current_liquidity": 0}


def test_market_cancelled():
    event = from_wire("MarketCancelled")
    assert step(market(MarketState.APPROVED), event)[0] == {
        "state": MarketState.CANCELLED,
        "cancelled_at": event.cancelled_at,
    }


def test_global_config_starts_with_the_defaults_of_the_program():
    event = from_wire("GlobalConfigInitialized")
    assert apply_config(None, event, 7) == ConfigFold(
        admin=event.admin,
        backend_authority=event.backend_authority,
        protocol_fee_bps=event.protocol_fee_bps,
        resolver_reward_bps=200,
        liquidity_provider_fee_bps=500,
        proposal_approval_threshold=7000,
        dispute_success_threshold=6000,
        min_resolution_delay=86_400,
        dispute_period=259_200,
        is_paused=False,
        updated_slot=7,
    )


def test_config_updated_and_pause_status_changed():
    first = apply_config(None, from_wire("GlobalConfigInitialized"), 1)
    update = from_wire("ConfigUpdated")
    after = apply_config(first, update, 2)
    assert {n: getattr(after, n) for n in ("dispute_period", "protocol_fee_bps", "admin")} == {
        "dispute_period": update.dispute_period,
        "protocol_fee_bps": update.protocol_fee_bps,
        "admin": first.admin,
    }
    paused = apply_config(after, from_wire("ProtocolPauseStatusChanged", is_paused=True), 3)
    assert (paused.is_paused, paused.updated_slot) == (True, 3)
    with pytest.raises(FoldError):
        apply_config(None, update, 1)


def test_a_trade_pays_the_fees_of_its_own_time():
    later = at(from_wire("ConfigUpdated", protocol_fee_bps=0), slot=40)
    history = rules("reference", later).configs
    assert history.fees_at((39, 0, 0)).protocol_bps == 300
    assert history.fees_at((41, 0, 0)).protocol_bps == 0
    with pytest.raises(FoldError, match="GlobalConfigInitialized"):
        history.fees_at((1, 0, 0))


@pytest.mark.parametrize("kind", list(ALLOWED_IN))
def test_an_event_in_any_other_state_is_refused(kind):
    for state in set(MarketState) - ALLOWED_IN[kind]:
        with pytest.raises(FoldError, match=state.name):
            next_state(state, from_wire(kind.__name__))


def test_every_event_is_folded_or_is_the_config():
    config = {"GlobalConfigInitialized", "ConfigUpdated", "ProtocolPauseStatusChanged"}
    assert {kind.__name__ for kind in ALLOWED_IN} | config | {"MarketCreated"} == set(WIRE)


@pytest.mark.parametrize("changes", [{"cost": 100_000_001}, {"shares": 5}])
def test_a_buy_that_the_model_does_not_price_so_is_refused(changes):
    _, event = bought(**changes)
    with pytest.raises(FoldError, match="model reference"):
        apply(market(MarketState.ACTIVE), None, at(event), RULES)


def test_more_sold_than_held_is_refused():
    with pytest.raises(FoldError, match="holds 0"):
        apply(market(MarketState.ACTIVE), None, at(from_wire("SharesSold", shares=5)), RULES)


def test_a_fold_keeps_what_came_before_the_impossible_event_and_names_it():
    state = Folded()
    notification = [at(CREATED, slot=1), at(from_wire("MarketActivated"), slot=2)]
    with pytest.raises(ImpossibleEvent, match=r"MarketActivated sig:0 in slot 2: .*PROPOSED") as caught:
        fold(state, notification, RULES)
    assert caught.value.event is notification[1]
    assert state.market.state is MarketState.PROPOSED


@given(cost=st.integers(0, 2**50), bps=st.tuples(*[st.integers(0, 3_333)] * 3))
def test_the_cost_before_fees_follows_from_the_total_alone(cost, bps):
    schedule = FeeSchedule(*bps)
    fees = schedule.split(cost)
    assert _before_fees(cost + fees.total, schedule) == (cost, fees)


def test_the_deployed_programs_lifecycle_of_the_vectors_folds_to_its_numbers():
    """The specification's market of v0.69 (b = 100 SOL, deposit 0.1 SOL, two buys) folds to the numbers on devnet."""
    using = rules("v069")
    created = msgspec.structs.replace(CREATED, b_parameter=100 * SOL, initial_liquidity=SOL // 10)
    state = Folded()
    trades = [
        from_wire(
            "SharesBought",
            user=key(5),
            outcome=True,
            shares=1_835_823_062,
            cost=999_928_380,
            new_price_yes=504_589_428,
        ),
        from_wire(
            "SharesBought",
            user=key(6),
            outcome=False,
            shares=916_481_020,
            cost=499_942_740,
            new_price_yes=502_298_338,
        ),
        from_wire("MarketResolved", outcome=True),
        from_wire("MarketFinalized", final_outcome=True, was_disputed=False),
        from_wire("WinningsClaimed", user=key(5), outcome=True, amount=185_350_052),
    ]
    opening = [
        created,
        from_wire("ProposalApproved"),
        from_wire("MarketActivated", initial_liquidity=SOL // 10),
    ]
    fold(state, [at(event, slot=10 + n) for n, event in enumerate([*opening, *trades])], using)
    assert (state.market.current_liquidity, state.market.total_volume) == (195_446_344, 1_499_871_120)
    assert state.market.accumulated_resolver_fees == 0


def test_pricing_refusals_are_fold_errors():
    small = msgspec.structs.replace(market(MarketState.ACTIVE), b_parameter=5)
    _, event = bought()
    with pytest.raises(FoldError, match="InvalidBParameter"):
        apply(small, None, at(event), RULES)
    with pytest.raises(PricingError):
        MODEL.cost(0, 0, 5)
