"""claim_winnings and withdraw_liquidity: a winning unit pays one lamport, the creator gets what claims don't need."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from svm_chain import DAY, SOL, position_address, refused
from svm_harness import Market, Zmart


def traded(zmart: Zmart) -> tuple[Market, Keypair, Keypair]:
    """Open a market where one user holds YES and another NO; return the market and these two users."""
    market, yes, no = zmart.open(), zmart.chain.wallet(), zmart.chain.wallet()
    zmart.buy(market, yes, True, 2 * SOL)
    zmart.buy(market, no, False, SOL)
    return market, yes, no


def balance(zmart: Zmart, wallet: Keypair) -> int:
    return zmart.chain.lamports(wallet.pubkey())


@pytest.mark.parametrize("outcome", [True, False])
def test_a_winning_share_pays_exactly_one_lamport_per_unit(zmart: Zmart, outcome: bool) -> None:
    market, yes, no = traded(zmart)
    resolver = zmart.chain.wallet()
    zmart.finish(market, resolver, outcome)
    winner, loser = (yes, no) if outcome else (no, yes)
    shares = zmart.position(market, winner)["shares_yes" if outcome else "shares_no"]
    before, pool = balance(zmart, winner), zmart.market(market)["current_liquidity"]
    event = zmart.claim(market, winner).event
    assert event["amount"] == shares == balance(zmart, winner) - before
    assert (event["market"], event["user"], event["outcome"]) == (market.key, winner.pubkey(), outcome)
    position = zmart.position(market, winner)
    assert (position["has_claimed"], position["claimed_amount"]) == (True, shares)
    assert zmart.market(market)["current_liquidity"] == pool - shares
    assert zmart.claimed_shares(market) == shares
    with refused("NoWinnings"):
        zmart.claim(market, loser)
    zmart.books_hold(market)


def test_nobody_claims_twice(zmart: Zmart) -> None:
    market, yes, _ = traded(zmart)
    zmart.finish(market, yes, True)
    zmart.claim(market, yes)
    with refused("AlreadyClaimed"):
        zmart.claim(market, yes)


def test_the_resolver_is_paid_once_with_the_first_claim(zmart: Zmart) -> None:
    market, yes, _ = traded(zmart)
    other, resolver = zmart.chain.wallet(), zmart.chain.wallet()
    zmart.buy(market, other, True, SOL)
    zmart.finish(market, resolver, True)
    reward, before = zmart.market(market)["accumulated_resolver_fees"], balance(zmart, resolver)
    assert reward > 0
    zmart.claim(market, yes)
    assert balance(zmart, resolver) - before == reward
    assert zmart.market(market)["accumulated_resolver_fees"] == 0
    zmart.claim(market, other)
    assert balance(zmart, resolver) - before == reward
    zmart.books_hold(market)


def test_a_winner_who_is_the_resolver_gets_both(zmart: Zmart) -> None:
    market, yes, _ = traded(zmart)
    zmart.finish(market, yes, True)
    reward = zmart.market(market)["accumulated_resolver_fees"]
    before = balance(zmart, yes)
    amount = zmart.claim(market, yes).event["amount"]
    assert balance(zmart, yes) - before == amount + reward
    zmart.books_hold(market)


def test_another_account_in_place_of_the_resolver_is_refused(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    with refused("InvalidResolver"):
        zmart.claim(market, yes, resolver=yes.pubkey())


def test_claims_wait_for_the_final_outcome(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    with refused("InvalidMarketState"):
        zmart.claim(market, yes, resolver=no.pubkey())
    zmart.chain.wait(DAY)
    zmart.resolve(market, no, True)
    with refused("InvalidMarketState"):
        zmart.claim(market, yes)
    zmart.chain.wait(1)
    zmart.dispute(market, no)
    with refused("InvalidMarketState"):
        zmart.claim(market, yes)


def test_nobody_claims_for_another(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    accounts = zmart.position_accounts(market, yes) | {"user": no.pubkey(), "resolver": no.pubkey()}
    with refused("ConstraintSeeds"):
        zmart.chain.send(zmart.build("claim_winnings", **accounts), signers=[no])
    zmart.change_position(market, yes, user=no.pubkey())
    with refused("ConstraintHasOne"):
        zmart.claim(market, yes)


def test_a_wallet_that_never_traded_has_nothing_to_claim(zmart: Zmart) -> None:
    market, _, no = traded(zmart)
    zmart.finish(market, no, True)
    with refused("AccountNotInitialized"):
        zmart.claim(market, zmart.chain.wallet())


def test_sold_shares_win_nothing(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.sell(market, yes, True, zmart.position(market, yes)["shares_yes"])
    zmart.finish(market, no, True)
    with refused("NoWinnings"):
        zmart.claim(market, yes)


def test_a_locked_or_empty_market_does_not_pay(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    zmart.change_market(market, is_locked=True)
    with refused("Reentrant"):
        zmart.claim(market, yes)
    zmart.change_market(market, is_locked=False, current_liquidity=1)
    with refused("InsufficientLiquidity"):
        zmart.claim(market, yes)
    zmart.change_market(market, current_liquidity=100 * SOL, lamports=SOL)
    with refused("InsufficientFunds"):
        zmart.claim(market, yes)
    shares = zmart.position(market, yes)["shares_yes"]
    zmart.change_market(market, lamports=shares + 4_000_000)
    with refused("WouldBreakRentExemption"):
        zmart.claim(market, yes)


def test_an_invalid_market_pays_half_of_every_share_and_no_resolver(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.buy(market, yes, False, SOL)
    resolver = zmart.chain.wallet()
    zmart.finish(market, resolver, None)
    reward, before = zmart.market(market)["accumulated_resolver_fees"], balance(zmart, resolver)
    for wallet in (yes, no):
        position = zmart.position(market, wallet)
        event = zmart.claim(market, wallet).event
        assert event["amount"] == (position["shares_yes"] + position["shares_no"]) // 2
        assert event["outcome"] is None
    assert balance(zmart, resolver) == before
    assert zmart.market(market)["accumulated_resolver_fees"] == reward
    assert zmart.withdraw(market).event["amount"] > reward
    assert zmart.market(market)["accumulated_resolver_fees"] == 0
    zmart.books_hold(market)


def test_the_creator_gets_the_rest_and_lp_fees_and_leaves_every_claim_its_money(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    state, before = zmart.market(market), balance(zmart, zmart.creator)
    amount = zmart.withdraw(market).event["amount"]
    assert amount == state["current_liquidity"] - state["shares_yes"] + state["accumulated_lp_fees"]
    assert balance(zmart, zmart.creator) - before == amount
    after = zmart.market(market)
    assert (after["current_liquidity"], after["accumulated_lp_fees"]) == (state["shares_yes"], 0)
    assert after["accumulated_resolver_fees"] == state["accumulated_resolver_fees"]
    zmart.books_hold(market)
    zmart.claim(market, yes)
    assert zmart.market(market)["current_liquidity"] == 0
    zmart.books_hold(market)


def test_a_second_withdrawal_has_nothing_until_something_is_free(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    zmart.withdraw(market)
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)
    zmart.claim(market, yes)
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)


def test_halves_that_nobody_could_claim_become_free_after_the_claims(zmart: Zmart) -> None:
    """An INVALID market pays half of a holding, rounded down; the creator gets what two odd holdings lose by that."""
    market, yes, no = traded(zmart)
    zmart.change_position(market, yes, shares_yes=2 * SOL + 1)
    zmart.change_position(market, no, shares_no=2 * SOL + 1)
    zmart.change_market(market, shares_yes=2 * SOL + 1, shares_no=2 * SOL + 1)
    zmart.finish(market, no, None)
    zmart.withdraw(market)
    assert zmart.market(market)["current_liquidity"] == 2 * SOL + 1
    zmart.claim(market, yes)
    zmart.claim(market, no)
    assert zmart.withdraw(market).event["amount"] == 1
    zmart.books_hold(market)


def test_an_odd_number_of_open_shares_keeps_the_half_lamport_back(zmart: Zmart) -> None:
    market, _, no = traded(zmart)
    zmart.change_market(market, shares_yes=2 * SOL + 1, shares_no=2 * SOL)
    zmart.finish(market, no, None)
    zmart.withdraw(market)
    assert zmart.market(market)["current_liquidity"] == 2 * SOL + 1


def test_resolver_fees_that_no_claim_can_trigger_go_to_the_creator(zmart: Zmart) -> None:
    market, yes = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, yes, True, SOL)
    zmart.finish(market, yes, False)
    state = zmart.market(market)
    fees = state["accumulated_lp_fees"] + state["accumulated_resolver_fees"]
    assert zmart.withdraw(market).event["amount"] == state["current_liquidity"] + fees
    after = zmart.market(market)
    assert (after["current_liquidity"], after["accumulated_lp_fees"], after["accumulated_resolver_fees"]) == (
        0,
        0,
        0,
    )
    zmart.books_hold(market)


def test_an_untraded_market_returns_its_deposit(zmart: Zmart) -> None:
    market, someone = zmart.open(), zmart.chain.wallet()
    zmart.finish(market, someone, True)
    assert zmart.withdraw(market).event["amount"] == market.deposit


@pytest.mark.parametrize("state", ["Proposed", "Approved", "Active", "Resolving", "Disputed"])
def test_the_deposit_stays_while_the_market_lives(zmart: Zmart, state: str) -> None:
    market = zmart.open()
    zmart.change_market(market, state=state)
    with refused("InvalidMarketState"):
        zmart.withdraw(market)


def test_only_the_creator_withdraws(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    zmart.finish(market, no, True)
    for stranger in (zmart.admin, zmart.backend, yes):
        with refused("Unauthorized"):
            zmart.withdraw(market, stranger)


def test_donated_lamports_change_no_amount(zmart: Zmart) -> None:
    market, yes, no = traded(zmart)
    donation = 5 * SOL
    zmart.change_market(market, lamports=zmart.chain.lamports(market.key) + donation)
    zmart.finish(market, no, True)
    state = zmart.market(market)
    amount = zmart.withdraw(market).event["amount"]
    assert amount == state["current_liquidity"] - state["shares_yes"] + state["accumulated_lp_fees"]
    zmart.claim(market, yes)
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(488)
    assert zmart.chain.lamports(market.key) == rent + donation


def test_a_market_whose_books_promise_more_than_it_has_does_not_pay_the_creator(zmart: Zmart) -> None:
    market, _, no = traded(zmart)
    zmart.finish(market, no, True)
    zmart.change_market(market, current_liquidity=zmart.market(market)["shares_yes"] - 1)
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)


def test_positions_are_read_from_the_market_they_belong_to(zmart: Zmart) -> None:
    first, yes, no = traded(zmart)
    second = zmart.open()
    zmart.finish(first, no, True)
    zmart.finish(second, no, True)
    accounts = {
        "market": second.key,
        "position": position_address(first.key, yes.pubkey()),
        "user": yes.pubkey(),
    }
    with refused("ConstraintSeeds"):
        zmart.chain.send(zmart.build("claim_winnings", resolver=no.pubkey(), **accounts), signers=[yes])
