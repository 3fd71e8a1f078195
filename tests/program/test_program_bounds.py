"""A buyer bounds the cost with `target_cost` and the shares with `min_shares`, eight more bytes (case A20)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.instruction import Instruction
from solders.keypair import Keypair
from svm_chain import SOL, ProgramFailed, Sent, refused
from svm_harness import Market, Zmart

from zmart.market.pricing import FeeSchedule, Quantities, pricing_model
from zmart.market.types import Bps, MarketId, Side
from zmart.services.gateway.api import quotes

B, VICTIM_PAYS, ATTACKER_PAYS = 5 * SOL, 10 * SOL, 44 * SOL // 10
FEES = FeeSchedule(Bps(300), Bps(200), Bps(500))
MODEL = pricing_model("reference")


def quoted_bound(zmart: Zmart, market: Market, max_cost: int, slippage_bps: int | None = None) -> int:
    """Return the `min_shares` that the gateway puts into a buy of the market as it is now."""
    state = zmart.market(market)
    now = Quantities(state["shares_yes"], state["shares_no"], state["b_parameter"])
    order = quotes.TradeOrder(side=Side.BUY, outcome=True, max_cost=max_cost, slippage_bps=slippage_bps)
    bound = quotes.quote(MODEL, MarketId(market.id.hex()), now, FEES, order).min_shares
    assert bound is not None
    return bound


def sandwich(zmart: Zmart, market: Market, attacker: Keypair, pays: int, bound: int | None) -> int:
    """Return the attacker's gain in lamports: buy before the victim's buy, sell after it (or after its refusal)."""
    before = zmart.chain.lamports(attacker.pubkey())
    shares = zmart.buy(market, attacker, True, pays).event["shares"]
    try:
        zmart.buy(market, zmart.chain.wallet(), True, VICTIM_PAYS, bound)
    except ProgramFailed as failed:
        if failed.name != "SlippageExceeded":
            raise
    zmart.sell(market, attacker, True, shares)
    made = zmart.chain.svm.minimum_balance_for_rent_exemption(182)  # the attacker's position
    return zmart.chain.lamports(attacker.pubkey()) + made - before


def test_a_sandwich_earns_nothing_from_a_buy_with_both_bounds(zmart: Zmart) -> None:
    """A20: a sandwich gains 0.78 SOL from a buy of 10 SOL that bounds only the cost; it loses if shares are bounded."""
    unbounded = zmart.open(b=B)
    assert sandwich(zmart, unbounded, zmart.chain.wallet(), ATTACKER_PAYS, None) > 78 * SOL // 100
    bounded = zmart.open(b=B)
    bound = quoted_bound(zmart, bounded, VICTIM_PAYS)
    attacker, victim = zmart.chain.wallet(), zmart.chain.wallet()
    shares = zmart.buy(bounded, attacker, True, ATTACKER_PAYS).event["shares"]
    with refused("SlippageExceeded"):
        zmart.buy(bounded, victim, True, VICTIM_PAYS, bound)
    assert zmart.chain.lamports(victim.pubkey()) == 1_000 * SOL
    assert zmart.sell(bounded, attacker, True, shares).event["proceeds"] < ATTACKER_PAYS
    assert zmart.buy(bounded, victim, True, VICTIM_PAYS, bound).event["shares"] >= bound


ZMART = Zmart()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.one_of(st.integers(20_000, SOL), st.integers(20_000, 60 * SOL)),
    st.sampled_from([0, 10, 100, None]),
)
def test_no_size_of_attack_gains_more_than_the_buyer_tolerates(pays: int, slippage_bps: int | None) -> None:
    """A20: a sandwich gains at most one lamport for each unit of shares between the quote and the bound.

    The reason is that a unit of shares pays at most one lamport.
    """
    market = ZMART.open(b=B)
    quoted = quoted_bound(ZMART, market, VICTIM_PAYS, slippage_bps=0)
    bound = quoted_bound(ZMART, market, VICTIM_PAYS, slippage_bps)
    assert quoted - bound <= -(-quoted // 100)
    assert sandwich(ZMART, market, ZMART.chain.wallet(), pays, bound) <= quoted - bound


def test_the_bound_is_met_at_it_and_not_above(zmart: Zmart) -> None:
    market, users = zmart.open(b=B), [zmart.chain.wallet() for _ in range(2)]
    exact = quoted_bound(zmart, market, SOL, slippage_bps=0)
    for above in (exact + 1, (1 << 64) - 1):
        with refused("SlippageExceeded"):
            zmart.buy(market, users[0], True, SOL, above)
    assert zmart.buy(market, users[0], True, SOL, exact).event["shares"] == exact
    assert zmart.buy(market, users[1], True, SOL, 0).event["shares"] > 0


def test_a_raised_fee_is_refused_like_any_other_change_to_the_worse(zmart: Zmart) -> None:
    """A buy below the bound is refused, whatever changed between quote and execution: here the protocol's fee."""
    market, user = zmart.open(b=B), zmart.chain.wallet()
    bound = quoted_bound(zmart, market, SOL)
    zmart.update_config(protocol_fee_bps=600)
    with refused("SlippageExceeded"):
        zmart.buy(market, user, True, SOL, bound)


@pytest.mark.parametrize("length", [0, 1, 7, 9, 16])
def test_other_bytes_behind_the_arguments_are_ignored_as_anchor_ignores_them(
    zmart: Zmart, length: int
) -> None:
    """Any number of extra bytes but eight is ignored, so clients of the IDL, which has no bound, can buy as before."""
    market, user = zmart.open(b=B), zmart.chain.wallet()
    args = {"outcome": True, "target_cost": SOL}
    built = zmart.build("buy_shares", args, **zmart.position_accounts(market, user))
    longer = Instruction(built.program_id, built.data + b"\xff" * length, built.accounts)
    sent: Sent = zmart.chain.send(longer, signers=[user])
    assert sent.event["shares"] > 0
