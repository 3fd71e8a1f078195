"""Random trades, claims and withdrawals in any order: the books hold, every claim is paid, no round trip gains.

(The harness checks in every transaction of every test that no lamport appears or vanishes.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, getcontext

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair
from svm_chain import SOL, ProgramFailed, Sent, refused
from svm_harness import Market, Zmart

getcontext().prec = 50
ZMART = Zmart()
RESOLVER = ZMART.chain.wallet()
MOST_UNITS = 60_000  # of the 200,000 compute units that an instruction has by default
PRICED_OUT = ("TradeTooSmall", "ExponentTooLarge")
PROPERTY = settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@dataclass(frozen=True)
class Trade:
    """One trade. With f = `size` / 2**20, a sale sells the fraction f of the shares that the user holds.

    A buy has a budget of 3 b f**2 lamports plus 10,000: the square makes small buys common.
    """

    user: int
    outcome: bool
    size: int
    sells: bool


TRADES = st.lists(
    st.builds(
        Trade, user=st.integers(0, 3), outcome=st.booleans(), size=st.integers(0, 2**20), sells=st.booleans()
    ),
    min_size=1,
    max_size=14,
)
B = st.one_of(st.sampled_from([10_000_000, SOL, 100 * SOL, 10**15]), st.integers(10_000_000, 10**12))
FEES = st.lists(st.integers(0, 3_333), min_size=3, max_size=3)
OUTCOMES = st.sampled_from([True, False, None])


def attempt(action: Callable[[], Sent], *expected: str) -> Sent | None:
    """Execute `action`; None when the program refuses it with one of the `expected` errors."""
    try:
        return action()
    except ProgramFailed as failed:
        if failed.name not in expected:
            raise
        return None


@dataclass
class Game:
    """One market and four users with more than enough lamports. `spent` is what each user who traded has paid, net."""

    market: Market
    users: list[Keypair] = field(default_factory=lambda: [ZMART.chain.wallet(100_000_000) for _ in range(4)])
    spent: dict[int, int] = field(default_factory=dict)

    def play(self, trade: Trade) -> None:
        held = self.held(trade.user, trade.outcome)
        if trade.sells and held:
            self.sell(trade.user, trade.outcome, held * trade.size // 2**20)
        else:
            self.buy(trade.user, trade.outcome, 10_000 + 3 * self.market.b * trade.size**2 // 2**40)
        self.check()

    def buy(self, user: int, outcome: bool, budget: int) -> None:
        sent = attempt(lambda: ZMART.buy(self.market, self.users[user], outcome, budget), *PRICED_OUT)
        if sent:
            assert sent.event["cost"] <= budget
            assert sent.units < MOST_UNITS
            self.spent[user] = self.spent.get(user, 0) + sent.event["cost"]

    def sell(self, user: int, outcome: bool, shares: int) -> None:
        sent = attempt(lambda: ZMART.sell(self.market, self.users[user], outcome, shares), *PRICED_OUT)
        if sent:
            assert sent.units < MOST_UNITS
            self.spent[user] -= sent.event["proceeds"]

    def held(self, user: int, outcome: bool) -> int:
        if user not in self.spent:
            return 0
        return int(ZMART.position(self.market, self.users[user])["shares_yes" if outcome else "shares_no"])

    def owed(self, user: int, outcome: bool | None) -> int:
        if outcome is None:
            return (self.held(user, True) + self.held(user, False)) // 2
        return self.held(user, outcome)

    def check(self) -> None:
        ZMART.books_hold(self.market)
        state = ZMART.market(self.market)
        if state["state"] == "Active":
            assert state["current_liquidity"] >= max(state["shares_yes"], state["shares_no"])


def tightest(b: int) -> Market:
    """Open a market with the smallest deposit that is accepted: b ln 2 lamports, rounded up."""
    creator = ZMART.chain.wallet(10_000_000)
    least = int((b * Decimal(2).ln()).to_integral_value(rounding="ROUND_CEILING"))
    if attempt(
        lambda: ZMART.create_sent(Market(least.to_bytes(32, "little"), creator, b, least - 1)),
        "InvalidLiquidity",
    ):
        raise AssertionError(f"b = {b}: a deposit below b ln 2 was accepted")
    return ZMART.open(b=b, deposit=least, creator=creator)


def played(b: int, fees: list[int], trades: list[Trade]) -> Game:
    protocol, resolver, lp = fees
    ZMART.update_config(
        protocol_fee_bps=protocol, resolver_reward_bps=resolver, liquidity_provider_fee_bps=lp
    )
    game = Game(tightest(b))
    for trade in trades:
        game.play(trade)
    return game


@PROPERTY
@given(B, FEES, TRADES, OUTCOMES, st.permutations(range(7)))
def test_every_claim_is_paid_in_full_and_the_rest_is_the_creators(
    b: int, fees: list[int], trades: list[Trade], outcome: bool | None, order: list[int]
) -> None:
    """Claims (steps 0 to 3) and withdrawals (steps 4 to 6) come in any order, with the smallest allowed deposit."""
    game = played(b, fees, trades)
    ZMART.finish(game.market, RESOLVER, outcome)
    owed = {user: game.owed(user, outcome) for user in game.spent}
    for step in order:
        if step in owed:
            claim(game, step, owed[step])
        elif step > 3:
            withdraw(game)
        game.check()
    withdraw(game)
    assert_all_is_settled(game, outcome)


def claim(game: Game, user: int, owed: int) -> None:
    if not owed:
        with refused("NoWinnings"):
            ZMART.claim(game.market, game.users[user])
        return
    assert ZMART.claim(game.market, game.users[user]).event["amount"] == owed


def withdraw(game: Game) -> None:
    before = ZMART.market(game.market)
    sent = attempt(lambda: ZMART.withdraw(game.market), "InsufficientLiquidity")
    if sent:
        after = ZMART.market(game.market)
        books = ("current_liquidity", "accumulated_lp_fees", "accumulated_resolver_fees")
        assert sent.event["amount"] == sum(before[name] - after[name] for name in books)


def assert_all_is_settled(game: Game, outcome: bool | None) -> None:
    """Assert that the books are empty, except for the half lamports that an INVALID market rounds off its payouts."""
    state = ZMART.market(game.market)
    assert state["accumulated_lp_fees"] == state["accumulated_resolver_fees"] == 0
    assert state["current_liquidity"] <= (len(game.spent) if outcome is None else 0)


@PROPERTY
@given(B, TRADES)
def test_selling_everything_returns_the_pool_to_its_deposit(b: int, trades: list[Trade]) -> None:
    """The cost of a trade depends on the quantities before and after it, not on the trades that led to them."""
    game = played(b, [0, 0, 0], trades)
    for user in game.spent:
        for outcome in (True, False):
            game.sell(user, outcome, game.held(user, outcome))
    state = ZMART.market(game.market)
    if state["shares_yes"] == state["shares_no"] == 0:
        assert state["current_liquidity"] == game.market.deposit
        assert sum(game.spent.values()) == 0


@PROPERTY
@given(B, FEES, TRADES, st.booleans(), st.integers(10_000, 10**12), st.integers(1, 4))
def test_a_round_trip_never_gains(
    b: int, fees: list[int], trades: list[Trade], outcome: bool, budget: int, pieces: int
) -> None:
    """A user who buys and then sells all of it, in one or more pieces, gets back at most what was paid."""
    game = played(b, fees, [trade for trade in trades if trade.user])
    game.buy(0, outcome, budget)
    if 0 not in game.spent:
        return
    for left in range(pieces, 0, -1):
        game.sell(0, outcome, game.held(0, outcome) // left)
    assert game.spent[0] >= 0
    game.check()


@PROPERTY
@given(B, FEES, TRADES, OUTCOMES)
def test_all_users_together_never_win_more_than_the_deposit(
    b: int, fees: list[int], trades: list[Trade], outcome: bool | None
) -> None:
    game = played(b, fees, trades)
    ZMART.finish(game.market, RESOLVER, outcome)
    owed = sum(game.owed(user, outcome) for user in game.spent)
    assert owed - sum(game.spent.values()) <= game.market.deposit
    assert owed <= ZMART.market(game.market)["current_liquidity"]
