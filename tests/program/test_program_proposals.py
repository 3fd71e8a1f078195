"""The instructions from a proposal to an open market: create, vote, aggregate, approve, activate, cancel."""

from __future__ import annotations

from decimal import Decimal, getcontext

import pytest
from svm_chain import CID, SOL, SPACES, START, refused, refused_by_system, vote_address
from svm_harness import Market, Zmart

getcontext().prec = 50
LN2 = Decimal(2).ln()
MIN_B, MAX_B = 10_000_000, 10**15


def largest_loss(b: int) -> int:
    """Return the largest loss of a market with this b, in lamports: b ln 2, rounded up."""
    return int((b * LN2).to_integral_value(rounding="ROUND_CEILING"))


def test_a_new_market_is_proposed_with_its_deposit_in_the_pool(zmart: Zmart) -> None:
    before = zmart.chain.lamports(zmart.creator.pubkey())
    market = zmart.create(b=10 * SOL, deposit=8 * SOL)
    state = zmart.market(market)
    assert state["state"] == "Proposed"
    assert state["b_parameter"] == 10 * SOL
    assert state["initial_liquidity"] == state["current_liquidity"] == 8 * SOL
    assert (state["shares_yes"], state["shares_no"], state["total_volume"]) == (0, 0, 0)
    assert (state["creator"], state["created_at"]) == (zmart.creator.pubkey(), START)
    assert state["ipfs_evidence_hash"] == CID
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
    assert before - zmart.chain.lamports(zmart.creator.pubkey()) == rent + 8 * SOL
    zmart.books_hold(market)


@pytest.mark.parametrize("b", [0, 1, MIN_B - 1, MAX_B + 1, 2**64 - 1])
def test_a_b_that_cannot_be_priced_is_refused(zmart: Zmart, b: int) -> None:
    with refused("InvalidBParameter"):
        zmart.create(b=b, deposit=10**12)


@pytest.mark.parametrize("b", [MIN_B, SOL, 100 * SOL, MAX_B])
def test_the_deposit_must_cover_the_largest_loss(zmart: Zmart, b: int) -> None:
    least = largest_loss(b)
    for deposit in (0, 1, least - 1):
        with refused("InvalidLiquidity"):
            zmart.create(b=b, deposit=deposit)
    zmart.books_hold(zmart.create(b=b, deposit=least + 1))


def test_a_creator_who_cannot_pay_the_deposit_makes_no_market(zmart: Zmart) -> None:
    poor = zmart.chain.wallet(0.5)
    with refused_by_system(1):
        zmart.create(b=SOL, deposit=SOL, creator=poor)
    assert zmart.chain.lamports(poor.pubkey()) == SOL // 2


def test_a_market_id_is_used_once(zmart: Zmart) -> None:
    market = zmart.create()
    with refused_by_system(0):
        zmart.create_sent(market)
    with refused_by_system(0):
        zmart.create_sent(Market(market.id, zmart.chain.wallet(), SOL, SOL))


def test_a_vote_is_recorded_once_for_ever(zmart: Zmart) -> None:
    market, user = zmart.create(), zmart.chain.wallet()
    zmart.chain.wait(5)
    zmart.vote(market, user, True)
    record = zmart.chain.read("VoteRecord", vote_address(market.key, user.pubkey(), 0))
    assert record["market"] == market.key
    assert (record["user"], record["vote_type"], record["vote"]) == (user.pubkey(), "Proposal", True)
    assert record["voted_at"] == START + 5
    with refused_by_system(0):
        zmart.vote(market, user, False)


def test_a_proposal_vote_needs_a_proposal(zmart: Zmart) -> None:
    with refused("InvalidStateForVoting"):
        zmart.vote(zmart.open(), zmart.chain.wallet(), True)
    with refused("InvalidStateForVoting"):
        zmart.aggregate_proposal(zmart.open(), 1, 0)


@pytest.mark.parametrize(
    ("likes", "dislikes", "percentage", "approved"),
    [(0, 0, 0, False), (7, 3, 70, True), (699, 301, 69, False), (2, 1, 66, False), (1, 0, 100, True)],
)
def test_counts_are_written_down_as_given(
    zmart: Zmart, likes: int, dislikes: int, percentage: int, approved: bool
) -> None:
    market = zmart.create()
    event = zmart.aggregate_proposal(market, likes, dislikes).event
    assert (event["approval_percentage"], event["approved"]) == (percentage, approved)
    state = zmart.market(market)
    counted = (state["proposal_likes"], state["proposal_dislikes"], state["proposal_total_votes"])
    assert counted == (likes, dislikes, likes + dislikes)
    assert state["state"] == "Proposed"


def test_counting_may_be_repeated_but_only_by_the_backend(zmart: Zmart) -> None:
    market = zmart.create()
    zmart.aggregate_proposal(market, 1, 2)
    zmart.aggregate_proposal(market, 8, 2)
    assert zmart.market(market)["proposal_likes"] == 8
    with refused("Unauthorized"):
        zmart.aggregate_proposal(market, 9, 0, signer=zmart.admin)
    with refused("OverflowError"):
        zmart.aggregate_proposal(market, 2**32 - 1, 1)


def test_approval_needs_the_admin_votes_and_a_majority(zmart: Zmart) -> None:
    market = zmart.create()
    with refused("Unauthorized"):
        zmart.approve(market, signer=zmart.backend)
    with refused("NoVotesRecorded"):
        zmart.approve(market)
    zmart.aggregate_proposal(market, 699, 301)
    with refused("InsufficientVotes"):
        zmart.approve(market)
    zmart.aggregate_proposal(market, 700, 300)
    zmart.chain.wait(9)
    zmart.approve(market)
    assert zmart.market(market)["state"] == "Approved"
    assert zmart.market(market)["approved_at"] == START + 9
    with refused("InvalidStateTransition"):
        zmart.approve(market)


def test_creator_and_admin_may_activate_an_approved_market(zmart: Zmart) -> None:
    for authority in (zmart.creator, zmart.admin):
        market = zmart.create()
        with refused("InvalidStateTransition"):
            zmart.activate(market, authority)
        zmart.aggregate_proposal(market, 1, 0)
        zmart.approve(market)
        with refused("Unauthorized"):
            zmart.activate(market, zmart.backend)
        zmart.activate(market, authority)
        assert zmart.market(market)["state"] == "Active"
        assert zmart.market(market)["activated_at"] == zmart.chain.now
        with refused("InvalidStateTransition"):
            zmart.activate(market, authority)


def test_a_market_that_lost_its_deposit_is_not_activated(zmart: Zmart) -> None:
    market = zmart.create()
    zmart.change_market(market, state="Approved", current_liquidity=market.deposit - 1)
    with refused("InsufficientLiquidity"):
        zmart.activate(market)


@pytest.mark.parametrize("approved", [False, True])
def test_a_cancelled_market_gives_the_whole_deposit_back(zmart: Zmart, approved: bool) -> None:
    start = zmart.chain.lamports(zmart.creator.pubkey())
    market = zmart.create(b=10 * SOL, deposit=9 * SOL)
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
    if approved:
        zmart.aggregate_proposal(market, 1, 0)
        zmart.approve(market)
    zmart.chain.wait(3)
    zmart.cancel(market)
    state = zmart.market(market)
    assert (state["state"], state["cancelled_at"], state["is_cancelled"]) == ("Cancelled", START + 3, False)
    zmart.books_hold(market)
    assert zmart.withdraw(market).event["amount"] == 9 * SOL
    assert zmart.chain.lamports(zmart.creator.pubkey()) == start - rent
    zmart.books_hold(market)
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)


def test_only_the_admin_cancels_and_only_what_is_not_yet_open(zmart: Zmart) -> None:
    market = zmart.create()
    with refused("Unauthorized"):
        zmart.cancel(market, zmart.creator)
    zmart.cancel(market)
    with refused("MarketAlreadyCancelled"):
        zmart.cancel(market)
    with refused("CannotCancelMarket"):
        zmart.cancel(zmart.open())


def test_nothing_but_the_refund_moves_a_cancelled_market(zmart: Zmart) -> None:
    market = zmart.create()
    zmart.cancel(market)
    user = zmart.chain.wallet()
    with refused("InvalidMarketState"):
        zmart.buy(market, user, True, SOL)
    with refused("InvalidStateTransition"):
        zmart.approve(market)
    with refused("InvalidStateTransition"):
        zmart.activate(market)
    with refused("InvalidMarketState"):
        zmart.resolve(market, user, True)
    with refused("Unauthorized"):
        zmart.withdraw(market, zmart.admin)
