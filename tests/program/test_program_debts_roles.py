"""One wallet in several roles, its account listed in several places, with hostile accounts added (case A19).

Each wallet gets what its roles earn, once, and the Python fold has the program's numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.instruction import AccountMeta
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import PROGRAM, SOL, ProgramFailed, Sent, config_address, position_address
from svm_fold import FoldedMarket, WatchedChain
from svm_harness import Extra, Zmart

WALLETS = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "withdraw", "withdraw", "drain", "fund"]),
        st.integers(0, WALLETS - 1),
        st.lists(st.tuples(st.integers(0, WALLETS + 4), st.booleans()), max_size=5),
    ),
    max_size=12,
)
TRADES = st.lists(
    st.tuples(
        st.integers(0, WALLETS - 1), st.booleans(), st.integers(20_000, SOL // 40), st.sampled_from("bbsd")
    ),
    min_size=1,
    max_size=10,
)
ROLES = st.tuples(*(st.integers(0, WALLETS - 1) for _ in ("creator", "resolver", "fee wallet")))


class Roles:
    """Three wallets that trade. `creator`, `resolver` and `fee_wallet` are the indexes of those with these roles."""

    def __init__(self, creator: int, resolver: int, fee_wallet: int) -> None:
        self.chain = WatchedChain()
        self.wallets = [self.chain.wallet() for _ in range(WALLETS)]
        self.creator, self.resolver, self.fee_wallet = (
            self.wallets[role] for role in (creator, resolver, fee_wallet)
        )
        self.zmart = Zmart(self.chain, {"fee_wallet": self.fee_wallet})
        self.market = self.zmart.open(b=SOL, creator=self.creator)
        self.fold = FoldedMarket(self.zmart, self.chain, self.market)
        self.fold.check()
        self.chain.watched = [wallet.pubkey() for wallet in self.wallets]
        self.thief = self.chain.wallet()
        self.earned: Counter[Pubkey] = Counter()
        self.reward = 0
        self.least = self.chain.svm.minimum_balance_for_rent_exemption(0)

    def put(self, wallet: Keypair, lamports: int) -> None:
        self.chain.put(wallet.pubkey(), b"", lamports=lamports, owner=SYSTEM)

    def trade(self, user: int, outcome: bool, size: int, kind: str) -> None:
        wallet = self.wallets[user]
        key, held = wallet.pubkey(), self.fold.held(wallet, outcome)
        if kind == "d":
            return self.put(self.fee_wallet, 0)
        if not self.chain.lamports(key):
            self.put(wallet, SOL)
        if kind == "s" and held > 20_000:
            self.earned[key] += self.zmart.sell(self.market, wallet, outcome, held).event["proceeds"]
        elif kind == "b":
            position = position_address(self.market.key, key)
            before = self.chain.lamports(position)
            self.earned[key] -= self.zmart.buy(self.market, wallet, outcome, size).event["cost"]
            self.earned[key] -= self.chain.lamports(position) - before
        return None

    def extra(self, places: list[tuple[int, bool]]) -> list[Extra]:
        keys = [wallet.pubkey() for wallet in self.wallets]
        position = position_address(self.market.key, keys[0])
        keys += [self.market.key, config_address(), position, PROGRAM, self.thief.pubkey()]
        return [AccountMeta(keys[at], False, writable) for at, writable in places]

    def act(self, wallet: Keypair, action: Callable[[], Sent], gets: int) -> Sent | None:
        """Execute `action`, which pays `gets` lamports to `wallet`; None if the program refuses.

        The only allowed reason is that the balance of `wallet` would be below the rent exemption.
        """
        held = self.chain.lamports(wallet.pubkey())
        try:
            return action()
        except ProgramFailed:
            assert 0 < held + gets < self.least, "a payable wallet was refused"
            return None

    def claim(self, user: int, places: list[tuple[int, bool]]) -> bool:
        wallet = self.wallets[user]
        outcome = self.zmart.market(self.market)["final_outcome"]
        yes, no = self.fold.held(wallet, True), self.fold.held(wallet, False)
        payout = (yes + no) // 2 if outcome is None else (yes if outcome else no)
        if not payout or self.zmart.position(self.market, wallet)["has_claimed"]:
            return False
        due = self.zmart.market(self.market)["accumulated_resolver_fees"]
        action = lambda: self.zmart.claim(self.market, wallet, also=self.extra(places))  # noqa: E731
        if not self.act(wallet, action, payout):
            return False
        self.earned[wallet.pubkey()] += payout
        if outcome is not None:
            self.earned[self.resolver.pubkey()] += due
        return True

    def withdraw(self, user: int, places: list[tuple[int, bool]]) -> None:
        """Withdraw as any of the wallets. The wallet gets exactly what its roles are owed.

        A refusal is allowed only for a wallet that is owed nothing or would be below the rent exemption.
        """
        wallet, key = self.wallets[user], self.wallets[user].pubkey()
        owed_resolver, owed_protocol = self.zmart.owed(self.market)
        owed = owed_resolver * (wallet is self.resolver) + owed_protocol * (wallet is self.fee_wallet)
        free = self.fold.free if wallet is self.creator else 0
        before = self.chain.lamports(key)
        try:
            event = self.zmart.withdraw(self.market, wallet, also=self.extra(places)).event
        except ProgramFailed:
            payable = before + free + owed >= self.least
            assert not (free + owed and payable), "a wallet that is owed was refused"
            return
        paid = owed_resolver + owed_protocol - sum(self.zmart.owed(self.market))
        assert free or paid, "a withdrawal succeeded that pays nobody"
        assert self.chain.lamports(key) - before == free + owed
        assert event["amount"] == (free if wallet is self.creator else owed)
        self.earned[key] += free

    def check(self) -> None:
        account = self.fold.check()
        fees = account.accumulated_protocol_fees - account.notes.owed_protocol
        expected = Counter(self.earned)
        expected[self.fee_wallet.pubkey()] += fees
        expected[self.resolver.pubkey()] -= account.notes.owed_resolver
        paid = self.chain.paid
        assert {w: paid[w] for w in self.chain.watched} == {w: expected[w] for w in self.chain.watched}
        assert self.chain.lamports(self.thief.pubkey()) == 1_000 * SOL


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(ROLES, TRADES, st.sampled_from([True, False, None]), STEPS)
def test_nobody_gets_more_or_less_than_their_roles_earn_whoever_plays_which(
    roles: tuple[int, int, int],
    trades: list[tuple[int, bool, int, str]],
    outcome: bool | None,
    steps: list[tuple[str, int, list[tuple[int, bool]]]],
) -> None:
    """A19: no debt is paid twice, lost or paid to another wallet, whatever accounts are added to an instruction."""
    play = Roles(*roles)
    for trade in trades:
        play.trade(*trade)
        play.check()
    play.put(play.resolver, SOL)
    play.zmart.finish(play.market, play.resolver, outcome)
    play.check()
    for step, user, positions in steps:
        match step:
            case "claim":
                play.claim(user, positions)
            case "withdraw":
                play.withdraw(user, positions)
            case "drain" | "fund":
                play.put(play.wallets[user], SOL if step == "fund" else 0)
        play.check()
    for user, wallet in enumerate(play.wallets):
        play.put(wallet, SOL)
        play.claim(user, [])
        play.check()
    for user in range(WALLETS):
        play.withdraw(user, [])
        play.check()
    play.withdraw(play.wallets.index(play.creator), [])
    play.check()
    assert play.zmart.owed(play.market) == (0, 0)
    rent = play.chain.svm.minimum_balance_for_rent_exemption(488)
    assert play.chain.lamports(play.market.key) - rent <= (WALLETS if outcome is None else 0)
