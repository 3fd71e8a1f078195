"""resolve_market, disputes and finalize_market: who may call them, when, and which outcome becomes final."""

from __future__ import annotations

import pytest
from svm_chain import DAY, DISPUTE_PERIOD, EVIDENCE, SOL, refused, refused_by_system, vote_address
from svm_harness import Market, Zmart

TEN_YEARS = 315_360_000


def resolving(zmart: Zmart, outcome: bool = True) -> Market:
    market = zmart.open()
    zmart.chain.wait(DAY)
    zmart.resolve(market, zmart.chain.wallet(), outcome)
    return market


def disputed(zmart: Zmart, outcome: bool = True) -> Market:
    market = resolving(zmart, outcome)
    zmart.chain.wait(1)
    zmart.dispute(market, zmart.chain.wallet())
    return market


def test_anybody_proposes_an_outcome_with_evidence(zmart: Zmart) -> None:
    market, resolver = zmart.open(), zmart.chain.wallet()
    zmart.chain.wait(DAY)
    event = zmart.resolve(market, resolver, False).event
    state = zmart.market(market)
    assert (state["state"], state["proposed_outcome"], state["final_outcome"]) == ("Resolving", False, None)
    assert (state["resolver"], state["resolution_proposed_at"]) == (resolver.pubkey(), zmart.chain.now)
    assert state["ipfs_evidence_hash"] == event["evidence_hash"] == EVIDENCE


def test_a_resolution_waits_the_minimum_delay_after_activation(zmart: Zmart) -> None:
    market, resolver = zmart.open(), zmart.chain.wallet()
    for seconds in (0, 1, DAY - 2):
        zmart.chain.wait(seconds)
        with refused("InvalidTimestamp"):
            zmart.resolve(market, resolver, True)
    zmart.chain.wait(1)
    zmart.resolve(market, resolver, True)


def test_the_delay_is_the_one_configured_when_resolving(zmart: Zmart) -> None:
    market, resolver = zmart.open(), zmart.chain.wallet()
    zmart.update_config(min_resolution_delay=30)
    zmart.chain.wait(29)
    with refused("InvalidTimestamp"):
        zmart.resolve(market, resolver, True)
    zmart.chain.wait(1)
    zmart.resolve(market, resolver, True)


def test_times_that_leave_64_bits_are_refused(zmart: Zmart) -> None:
    market, resolver = zmart.open(), zmart.chain.wallet()
    zmart.chain.wait(DAY)
    zmart.update_config(min_resolution_delay=2**63 - 1, dispute_period=2**63 - 1)
    with refused("OverflowError"):
        zmart.resolve(market, resolver, True)
    zmart.update_config(min_resolution_delay=1)
    zmart.resolve(market, resolver, True)
    zmart.chain.wait(1)
    with refused("OverflowError"):
        zmart.dispute(market, resolver)
    with refused("OverflowError"):
        zmart.finalize(market)


def test_an_outcome_is_proposed_once(zmart: Zmart) -> None:
    market = resolving(zmart)
    with refused("InvalidMarketState"):
        zmart.resolve(market, zmart.chain.wallet(), False)
    zmart.change_market(market, state="Active")
    with refused("AlreadyResolved"):
        zmart.resolve(market, zmart.chain.wallet(), False)


@pytest.mark.parametrize("state", ["Proposed", "Approved", "Finalized", "Cancelled"])
def test_only_an_active_market_is_resolved(zmart: Zmart, state: str) -> None:
    market = zmart.open()
    zmart.change_market(market, state=state)
    zmart.chain.wait(DAY)
    with refused("InvalidMarketState"):
        zmart.resolve(market, zmart.chain.wallet(), True)


def test_a_clock_outside_ten_years_of_the_market_is_not_believed(zmart: Zmart) -> None:
    market, someone = zmart.open(), zmart.chain.wallet()
    start = zmart.chain.now
    zmart.chain.at(start + TEN_YEARS + 1)
    with refused("InvalidTimestamp"):
        zmart.resolve(market, someone, True)
    zmart.change_market(market, created_at=start + 2 * TEN_YEARS)
    with refused("InvalidTimestamp"):
        zmart.resolve(market, someone, True)
    zmart.change_market(market, created_at=start)
    zmart.chain.at(start + TEN_YEARS)
    zmart.resolve(market, someone, True)
    zmart.chain.wait(1)
    with refused("InvalidTimestamp"):
        zmart.finalize(market)


def test_a_dispute_opens_from_the_next_second_until_the_period_ends(zmart: Zmart) -> None:
    market, initiator = resolving(zmart), zmart.chain.wallet()
    proposed_at = zmart.chain.now
    with refused("InvalidTimestamp"):
        zmart.dispute(market, initiator)
    zmart.chain.at(proposed_at + DISPUTE_PERIOD)
    with refused("DisputePeriodEnded"):
        zmart.dispute(market, initiator)
    zmart.chain.at(proposed_at + DISPUTE_PERIOD - 1)
    event = zmart.dispute(market, initiator).event
    state = zmart.market(market)
    assert (state["state"], state["dispute_initiator"]) == ("Disputed", initiator.pubkey())
    assert state["dispute_initiated_at"] == zmart.chain.now
    assert event["disputed_outcome"] is True
    with refused("InvalidMarketState"):
        zmart.dispute(market, initiator)


def test_dispute_votes_are_one_per_wallet_and_apart_from_proposal_votes(zmart: Zmart) -> None:
    user = zmart.chain.wallet()
    market = zmart.create()
    zmart.vote(market, user, True)
    with refused("InvalidStateForVoting"):
        zmart.vote(market, user, True, dispute=True)
    zmart.change_market(market, state="Disputed")
    zmart.vote(market, user, False, dispute=True)
    record = zmart.chain.read("VoteRecord", vote_address(market.key, user.pubkey(), 1))
    assert (record["vote_type"], record["vote"]) == ("Dispute", False)
    with refused_by_system(0):
        zmart.vote(market, user, True, dispute=True)


@pytest.mark.parametrize("outcome", [True, False])
def test_without_a_dispute_the_proposed_outcome_becomes_final(zmart: Zmart, outcome: bool) -> None:
    market = resolving(zmart, outcome)
    zmart.chain.wait(DISPUTE_PERIOD - 1)
    with refused("DisputePeriodNotEnded"):
        zmart.finalize(market)
    zmart.chain.wait(1)
    with refused("Unauthorized"):
        zmart.finalize(market, signer=zmart.admin)
    event = zmart.finalize(market, 9, 1).event  # without a dispute the counts are ignored
    state = zmart.market(market)
    assert (state["state"], state["final_outcome"], state["was_disputed"]) == ("Finalized", outcome, False)
    assert (state["finalized_at"], state["resolved_at"]) == (zmart.chain.now, 0)
    assert (state["dispute_agree"], event["final_outcome"]) == (0, outcome)
    with refused("InvalidMarketState"):
        zmart.finalize(market)


def test_finalizing_in_the_second_of_the_proposal_is_refused(zmart: Zmart) -> None:
    with refused("InvalidTimestamp"):
        zmart.finalize(resolving(zmart))


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize(
    ("agree", "disagree", "flipped"), [(6, 4, True), (5_999, 4_001, False), (0, 1, False), (1, 0, True)]
)
def test_a_dispute_flips_the_outcome_from_sixty_percent(
    zmart: Zmart, outcome: bool, agree: int, disagree: int, flipped: bool
) -> None:
    market = disputed(zmart, outcome)
    zmart.finalize(market, agree, disagree)
    state = zmart.market(market)
    assert state["final_outcome"] is (outcome != flipped)
    assert state["was_disputed"] is True
    counted = (state["dispute_agree"], state["dispute_disagree"], state["dispute_total_votes"])
    assert counted == (agree, disagree, agree + disagree)


def test_a_dispute_is_not_decided_without_votes(zmart: Zmart) -> None:
    market = disputed(zmart)
    for counts in ((None, None), (1, None), (None, 1), (0, 0)):
        with refused("NoVotesRecorded"):
            zmart.finalize(market, *counts)
    with refused("OverflowError"):
        zmart.finalize(market, 2**32 - 1, 1)


def test_aggregating_a_lost_dispute_finalizes_without_an_outcome(zmart: Zmart) -> None:
    market = disputed(zmart)
    with refused("Unauthorized"):
        zmart.aggregate_dispute(market, 1, 1, signer=zmart.admin)
    event = zmart.aggregate_dispute(market, 59, 41).event
    assert (event["agreement_percentage"], event["dispute_succeeded"]) == (59, False)
    state = zmart.market(market)
    assert (state["state"], state["final_outcome"], state["was_disputed"]) == ("Finalized", None, True)
    assert (state["resolved_at"], state["finalized_at"]) == (zmart.chain.now, 0)


def test_aggregating_a_won_dispute_returns_to_resolving(zmart: Zmart) -> None:
    market = disputed(zmart)
    event = zmart.aggregate_dispute(market, 60, 40).event
    assert (event["agreement_percentage"], event["dispute_succeeded"]) == (60, True)
    state = zmart.market(market)
    assert (state["state"], state["proposed_outcome"], state["was_disputed"]) == ("Resolving", True, True)
    assert state["resolved_at"] == 0
    with refused("InvalidStateForVoting"):
        zmart.aggregate_dispute(market, 1, 1)


def test_aggregating_no_votes_is_a_lost_dispute(zmart: Zmart) -> None:
    zmart.update_config(dispute_success_threshold=0)
    market = disputed(zmart)
    assert zmart.aggregate_dispute(market, 0, 0).event["dispute_succeeded"] is False


def test_a_pool_below_its_bound_is_not_finalized(zmart: Zmart) -> None:
    """A pool that has lost more than b ln 2 is not finalized. No trade leads to it: the test writes the account."""
    market = resolving(zmart)
    zmart.chain.wait(DISPUTE_PERIOD)
    bound = market.b * 693_147_180 // 10**9
    zmart.change_market(market, current_liquidity=market.deposit - bound - 1)
    with refused("BoundedLossExceeded"):
        zmart.finalize(market)
    zmart.change_market(market, current_liquidity=market.deposit - bound)
    zmart.finalize(market)


def test_the_largest_possible_loss_does_not_stop_a_finalization(zmart: Zmart) -> None:
    market, user = zmart.open(b=SOL), zmart.chain.wallet()
    zmart.buy(market, user, True, 50 * SOL)
    zmart.finish(market, user, True)
    assert zmart.claim(market, user).event["amount"] > 44 * SOL
    zmart.books_hold(market)
