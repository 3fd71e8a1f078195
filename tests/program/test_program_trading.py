"""buy_shares and sell_shares: prices, fees, which wallets are paid, which trades are refused."""

from __future__ import annotations

from decimal import Decimal, getcontext

import pytest
from borsh_oracle import encode_account
from solders.keypair import Keypair
from svm_chain import SOL, SPACES, ProgramFailed, config_address, position_address, refused, refused_by_system
from svm_harness import Market, Zmart

getcontext().prec = 60
SMALLEST = 10_000


def potential(yes: int, no: int, b: int) -> Decimal:
    """Return the cost function C in lamports, in real numbers: max(yes, no) + b ln(1 + exp(-gap / b))."""
    gap = Decimal(abs(yes - no)) / b
    return max(yes, no) + b * (1 + (-gap).exp()).ln()


def fees_of(amount: int, protocol: int = 300, resolver: int = 200, lp: int = 500) -> tuple[int, int, int]:
    bps = protocol + resolver + lp
    total = amount * bps // 10_000
    parts = (total * protocol // bps, total * resolver // bps) if bps else (0, 0)
    return *parts, total - sum(parts)


def pool(zmart: Zmart, market: Market) -> int:
    return zmart.market(market)["current_liquidity"]


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("b", [10_000_000, 10 * SOL, 1_000_000 * SOL])
@pytest.mark.parametrize("budget", [SMALLEST, 1_234_567, 10_000_000])
def test_a_buy_gets_the_most_shares_its_money_can_buy(
    zmart: Zmart, outcome: bool, b: int, budget: int
) -> None:
    market, user = zmart.open(b=b), zmart.chain.wallet()
    event = zmart.buy(market, user, outcome, budget).event
    before_fees = budget * 10_000 // 11_000
    cost = pool(zmart, market) - market.deposit
    shares = event["shares"]
    ideal = potential(shares, 0, b) - potential(0, 0, b)
    assert abs(cost - ideal) <= 2
    assert cost <= before_fees < potential(shares + 3, 0, b) - potential(0, 0, b) + 2
    assert event["cost"] == cost + sum(fees_of(cost)) <= budget
    assert event["outcome"] is outcome


def test_a_buy_pays_pool_fees_and_fee_wallet_to_the_lamport(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    wallet, fee_wallet = zmart.chain.lamports(user.pubkey()), zmart.chain.lamports(zmart.fee_wallet)
    event = zmart.buy(market, user, True, SOL).event
    state, position = zmart.market(market), zmart.position(market, user)
    cost = state["current_liquidity"] - market.deposit
    protocol, resolver, lp = fees_of(cost)
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(SPACES["UserPosition"])
    assert zmart.chain.lamports(zmart.fee_wallet) - fee_wallet == protocol
    assert wallet - zmart.chain.lamports(user.pubkey()) == event["cost"] + rent
    accumulated = [state[f"accumulated_{part}_fees"] for part in ("protocol", "resolver", "lp")]
    assert accumulated == [protocol, resolver, lp]
    assert state["total_volume"] == event["cost"] == position["total_invested"]
    assert state["shares_yes"] == event["shares"] == position["shares_yes"]
    assert (state["shares_no"], position["shares_no"]) == (0, 0)
    assert (position["trades_count"], position["last_trade_at"]) == (1, zmart.chain.now)
    assert (position["market"], position["user"]) == (market.key, user.pubkey())
    assert (position["has_claimed"], position["claimed_amount"]) == (False, 0)
    zmart.books_hold(market)


def test_a_sell_pays_out_and_books_to_the_lamport(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    bought = zmart.buy(market, user, False, 2 * SOL).event
    wallet, fee_wallet = zmart.chain.lamports(user.pubkey()), zmart.chain.lamports(zmart.fee_wallet)
    before = zmart.market(market)
    event = zmart.sell(market, user, False, SOL).event
    after, position = zmart.market(market), zmart.position(market, user)
    gross = before["current_liquidity"] - after["current_liquidity"]
    fees = fees_of(gross)
    assert event["proceeds"] == gross - sum(fees) == zmart.chain.lamports(user.pubkey()) - wallet
    assert zmart.chain.lamports(zmart.fee_wallet) - fee_wallet == fees[0]
    for part, fee in zip(("protocol", "resolver", "lp"), fees, strict=True):
        assert after[f"accumulated_{part}_fees"] - before[f"accumulated_{part}_fees"] == fee
    assert after["total_volume"] - before["total_volume"] == gross
    assert after["shares_no"] == position["shares_no"] == bought["shares"] - SOL
    assert position["total_invested"] == bought["cost"]
    assert position["trades_count"] == 2
    zmart.books_hold(market)


def test_without_fees_a_round_trip_gives_back_exactly_what_was_paid(zmart: Zmart) -> None:
    zmart.update_config(protocol_fee_bps=0, resolver_reward_bps=0, liquidity_provider_fee_bps=0)
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, zmart.chain.wallet(), False, 3 * SOL)
    bought = zmart.buy(market, user, True, SOL).event
    sold = zmart.sell(market, user, True, bought["shares"]).event
    assert sold["proceeds"] == bought["cost"]
    assert zmart.market(market)["accumulated_protocol_fees"] == 0


def test_prices_move_with_trades_and_meet_the_ideal(zmart: Zmart) -> None:
    market, user = zmart.open(b=10 * SOL), zmart.chain.wallet()
    last = 500_000_000
    for _ in range(10):
        price = zmart.buy(market, user, True, 4 * SOL).event["new_price_yes"]
        yes = zmart.market(market)["shares_yes"]
        ideal = 1 / (1 + (-Decimal(yes) / market.b).exp())
        assert abs(price - ideal * 10**9) <= 1
        assert price > last
        last = price
    assert zmart.buy(market, user, False, 4 * SOL).event["new_price_yes"] < last


def test_a_first_small_buy_and_a_far_gone_market_are_both_priced(zmart: Zmart) -> None:
    """v0.69 fails at a small first buy in a balanced market, and in a market far from balance; this program doesn't."""
    market, user = zmart.open(b=1_000 * SOL), zmart.chain.wallet(1_000_000)
    assert zmart.buy(market, user, True, SMALLEST).event["shares"] > 0
    small = zmart.open(b=SOL)
    event = zmart.buy(small, user, True, 45 * SOL).event
    assert event["shares"] > 40 * SOL
    assert event["new_price_yes"] == 10**9


def test_a_gap_beyond_the_bound_is_refused_and_leaves_selling_open(zmart: Zmart) -> None:
    market, user = zmart.open(b=SOL), zmart.chain.wallet(1_000_000)
    zmart.buy(market, user, True, 60 * SOL)
    with refused("ExponentTooLarge"):
        zmart.buy(market, user, True, 60 * SOL)
    zmart.sell(market, user, True, SOL)


@pytest.mark.parametrize("budget", [0, 1, SMALLEST - 1])
def test_dust_is_not_bought(zmart: Zmart, budget: int) -> None:
    with refused("TradeTooSmall"):
        zmart.buy(zmart.open(), zmart.chain.wallet(), True, budget)


def test_dust_is_not_sold(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    for shares in (0, 1, 10_000):
        with refused("TradeTooSmall"):
            zmart.sell(market, user, True, shares)


def test_budgets_beyond_all_money_are_refused_not_wrapped(zmart: Zmart) -> None:
    market, user = zmart.open(b=10**15), zmart.chain.wallet()
    for budget in (2**63, 2**64 - 1):
        with pytest.raises(ProgramFailed):
            zmart.buy(market, user, True, budget)
    zmart.books_hold(market)


def test_a_buyer_who_cannot_pay_buys_nothing(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet(0.5)
    with refused_by_system(1):
        zmart.buy(market, user, True, SOL)
    assert zmart.chain.lamports(user.pubkey()) == SOL // 2


def test_one_cannot_sell_what_one_does_not_hold(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    shares = zmart.buy(market, user, True, SOL).event["shares"]
    zmart.buy(market, zmart.chain.wallet(), True, SOL)
    with refused("InsufficientShares"):
        zmart.sell(market, user, True, shares + 1)
    with refused("InsufficientShares"):
        zmart.sell(market, user, False, 1)
    zmart.sell(market, user, True, shares)
    assert zmart.position(market, user)["shares_yes"] == 0


def test_a_seller_is_not_paid_less_than_asked(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    with refused("SlippageExceeded"):
        zmart.sell(market, user, True, SOL, min_proceeds=SOL)
    market_before, position_before = zmart.market(market), zmart.position(market, user)
    held = zmart.chain.lamports(market.key)
    proceeds = zmart.sell(market, user, True, SOL).event["proceeds"]
    zmart.change_market(market, lamports=held, **market_before)
    zmart.change_position(market, user, **position_before)
    with refused("SlippageExceeded"):
        zmart.sell(market, user, True, SOL, min_proceeds=proceeds + 1)
    zmart.sell(market, user, True, SOL, min_proceeds=proceeds)


@pytest.mark.parametrize("state", ["Proposed", "Approved", "Resolving", "Disputed", "Finalized", "Cancelled"])
def test_only_an_active_market_trades(zmart: Zmart, state: str) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    zmart.change_market(market, state=state)
    with refused("InvalidMarketState"):
        zmart.buy(market, user, True, SOL)
    with refused("InvalidMarketState"):
        zmart.sell(market, user, True, SOL)


def test_fees_go_to_the_configured_wallet_alone(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    zmart.fee_wallet = user.pubkey()
    with refused("Unauthorized"):
        zmart.buy(market, user, True, SOL)
    with refused("Unauthorized"):
        zmart.sell(market, user, True, SOL)


def test_another_wallets_position_is_out_of_reach(zmart: Zmart) -> None:
    market, owner, thief = zmart.open(), zmart.chain.wallet(), zmart.chain.wallet()
    zmart.buy(market, owner, True, SOL)
    stolen = zmart.position_accounts(market, owner) | {"user": thief.pubkey()}
    args = {"outcome": True, "shares_to_sell": SOL, "min_proceeds": 0}
    with refused("ConstraintSeeds"):
        zmart.chain.send(zmart.build("sell_shares", args, **stolen), signers=[thief])
    with refused("ConstraintSeeds"):
        zmart.chain.send(
            zmart.build("buy_shares", {"outcome": True, "target_cost": SOL}, **stolen), signers=[thief]
        )


def test_a_position_that_names_others_is_refused(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    stranger = Keypair().pubkey()
    zmart.change_position(market, user, market=stranger)
    with refused("InvalidMarketId"):
        zmart.buy(market, user, True, SOL)
    zmart.change_position(market, user, market=market.key, user=stranger)
    with refused("Unauthorized"):
        zmart.buy(market, user, True, SOL)
    with refused("Unauthorized"):
        zmart.sell(market, user, True, SOL)


def test_a_locked_market_does_not_pay(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    zmart.change_market(market, is_locked=True)
    with refused("Reentrant"):
        zmart.sell(market, user, True, SOL)


def test_a_pool_or_account_without_the_money_does_not_pay(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    held = zmart.chain.lamports(market.key)
    zmart.change_market(market, current_liquidity=1)
    with refused("InsufficientLiquidity"):
        zmart.sell(market, user, True, SOL)
    zmart.change_market(market, current_liquidity=held, lamports=1_000)
    with refused("InsufficientFunds"):
        zmart.sell(market, user, True, SOL)
    zmart.change_market(market, lamports=sold_for(zmart) + 4_000_000)
    with refused("WouldBreakRentExemption"):
        zmart.sell(market, user, True, SOL)


def sold_for(zmart: Zmart) -> int:
    """Return the proceeds, in lamports, of selling one share in a new market after a buy of 1 SOL."""
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    return int(zmart.sell(market, user, True, SOL).event["proceeds"])


def test_numbers_that_leave_64_bits_are_refused(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    full = 2**64 - 1
    for name in (
        "total_volume",
        "accumulated_lp_fees",
        "accumulated_resolver_fees",
        "accumulated_protocol_fees",
    ):
        held = zmart.market(market)[name]
        zmart.change_market(market, **{name: full})
        with refused("OverflowError"):
            zmart.buy(market, user, True, SOL)
        zmart.change_market(market, **{name: held})
    for name, most in (("total_invested", full), ("trades_count", 2**32 - 1)):
        held = zmart.position(market, user)[name]
        zmart.change_position(market, user, **{name: most})
        with refused("OverflowError"):
            zmart.buy(market, user, True, SOL)
        zmart.change_position(market, user, **{name: held})
    zmart.buy(market, user, True, SOL)


def test_a_user_who_is_the_fee_wallet_trades_at_the_right_balance(zmart: Zmart) -> None:
    user = zmart.chain.wallet()
    set_fee_wallet(zmart, user.pubkey())
    market = zmart.open()
    start = zmart.chain.lamports(user.pubkey())
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(SPACES["UserPosition"])
    bought = zmart.buy(market, user, True, SOL).event
    state = zmart.market(market)
    protocol = state["accumulated_protocol_fees"]
    assert start - zmart.chain.lamports(user.pubkey()) == rent + bought["cost"] - protocol
    middle = zmart.chain.lamports(user.pubkey())
    sold = zmart.sell(market, user, True, SOL).event
    protocol = zmart.market(market)["accumulated_protocol_fees"] - protocol
    assert zmart.chain.lamports(user.pubkey()) - middle == sold["proceeds"] + protocol
    zmart.books_hold(market)


def test_a_fee_wallet_that_is_the_market_loses_nothing(zmart: Zmart) -> None:
    """The protocol's fee then stays in the market's account, outside of the books, like a donation."""
    market, user = zmart.open(), zmart.chain.wallet()
    set_fee_wallet(zmart, market.key)
    zmart.buy(market, user, True, SOL)
    zmart.sell(market, user, True, SOL)
    state = zmart.market(market)
    donated = state["accumulated_protocol_fees"]
    assert donated > 0
    books = state["current_liquidity"] + state["accumulated_resolver_fees"] + state["accumulated_lp_fees"]
    rent = zmart.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
    assert zmart.chain.lamports(market.key) == rent + books + donated


def set_fee_wallet(zmart: Zmart, key: object) -> None:
    config = zmart.chain.read("GlobalConfig", zmart.config) | {"protocol_fee_wallet": key}
    zmart.chain.put(config_address(), encode_account("GlobalConfig", config, SPACES["GlobalConfig"]))
    zmart.fee_wallet = config["protocol_fee_wallet"]


def test_two_users_and_two_sides_keep_their_positions_apart(zmart: Zmart) -> None:
    market = zmart.open()
    users = [zmart.chain.wallet() for _ in range(3)]
    bought = {
        (index, side): zmart.buy(market, user, side, SOL).event["shares"]
        for index, user in enumerate(users)
        for side in (True, False)
    }
    for index, user in enumerate(users):
        position = zmart.position(market, user)
        assert (position["shares_yes"], position["shares_no"]) == (bought[index, True], bought[index, False])
    assert zmart.market(market)["shares_yes"] == sum(bought[index, True] for index in range(3))


def test_buying_into_two_markets_makes_two_positions(zmart: Zmart) -> None:
    first, second, user = zmart.open(), zmart.open(), zmart.chain.wallet()
    zmart.buy(first, user, True, SOL)
    zmart.buy(second, user, False, SOL)
    assert position_address(first.key, user.pubkey()) != position_address(second.key, user.pubkey())
    assert zmart.position(first, user)["shares_no"] == 0
    assert zmart.position(second, user)["shares_yes"] == 0
