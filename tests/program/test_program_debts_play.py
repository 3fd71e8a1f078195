"""Random trades, claims and withdrawals while the fee wallet or the resolver cannot be paid (case A19).

No instruction fails because of another wallet, every wallet gets what it is owed in the end, and the Python fold has
the program's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import SOL, refused
from svm_fold import FoldedMarket, WatchedChain
from svm_harness import Zmart

BEFORE = st.lists(
    st.tuples(
        st.sampled_from(["buy", "buy", "buy", "sell", "drain", "fund"]),
        st.integers(0, 2),
        st.booleans(),
        st.integers(20_000, SOL // 10),
    ),
    min_size=1,
    max_size=15,
)
AFTER = st.lists(st.sampled_from(["claim", "claim", "withdraw", "drain", "fund", "collect"]), max_size=12)


class Play:
    """One market with three users, and a fee wallet and a resolver that both start without lamports."""

    def __init__(self) -> None:
        self.chain, self.fee_wallet, self.resolver = WatchedChain(), Keypair(), Keypair()
        self.zmart = Zmart(self.chain, {"fee_wallet": self.fee_wallet})
        self.chain.watched = [self.fee_wallet.pubkey(), self.resolver.pubkey()]
        self.users = [self.chain.wallet() for _ in range(3)]
        self.market = self.zmart.open(b=SOL)
        self.fold = FoldedMarket(self.zmart, self.chain, self.market)

    def trade(self, kind: str, user: int, outcome: bool, size: int) -> None:
        wallet = self.users[user]
        if kind == "buy":
            self.zmart.buy(self.market, wallet, outcome, size)
        elif kind == "sell" and (held := self.held(user, outcome)) > 20_000:
            self.zmart.sell(self.market, wallet, outcome, held - held % 3)
        elif kind in ("drain", "fund"):
            self.change(kind, self.fee_wallet.pubkey())

    def change(self, kind: str, key: Pubkey) -> None:
        self.chain.put(key, b"", lamports=SOL if kind == "fund" else 0, owner=SYSTEM)

    def held(self, user: int, outcome: bool) -> int:
        return self.fold.held(self.users[user], outcome)

    def finish(self, outcome: bool | None) -> list[Keypair]:
        """Finalize the market; return the wallets of the users who can claim something."""
        self.zmart.finish(self.market, self.resolver, outcome)
        self.check()
        if outcome is None:
            return [w for u, w in enumerate(self.users) if self.held(u, True) + self.held(u, False) > 1]
        return [wallet for user, wallet in enumerate(self.users) if self.held(user, outcome)]

    def collect(self) -> None:
        """Let the resolver and the fee wallet withdraw.

        A wallet that has lamports gets its whole debt; a wallet that is owed nothing must be refused.
        """
        for wallet, owed in zip((self.resolver, self.fee_wallet), self.zmart.owed(self.market), strict=True):
            if owed and self.chain.lamports(wallet.pubkey()):
                assert self.zmart.withdraw(self.market, wallet).event["amount"] == owed
            elif not owed:
                with refused("Unauthorized"):
                    self.zmart.withdraw(self.market, wallet)

    def withdraw(self, also: Sequence[Pubkey] = ()) -> None:
        if free := self.fold.free:
            assert self.zmart.withdraw(self.market, also=also).event["amount"] == free

    def check(self) -> None:
        """Assert that the books and the fold agree, and that the fee wallet got or is owed exactly all of its fees."""
        account = self.fold.check()
        paid = self.chain.paid[self.fee_wallet.pubkey()]
        assert paid + account.notes.owed_protocol == account.accumulated_protocol_fees
        assert not account.notes.owed_protocol or account.notes.fee_wallet == str(self.fee_wallet.pubkey())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(BEFORE, st.sampled_from([True, False, None]), AFTER)
def test_everybody_is_paid_what_they_are_owed_however_long_some_wallets_could_not_be(
    trades: list[tuple[str, int, bool, int]], outcome: bool | None, steps: list[str]
) -> None:
    """A19: trades, claims and withdrawals never fail because the fee wallet or the resolver cannot be paid."""
    play = Play()
    for trade in trades:
        play.trade(*trade)
        play.check()
    winners = play.finish(outcome)
    rewards = play.zmart.market(play.market)["accumulated_resolver_fees"]
    has_winners = outcome is not None and bool(winners)
    for number, step in enumerate(steps):
        match step:
            case "claim" if winners:
                play.zmart.claim(play.market, winners.pop(), also=play.chain.watched[: number % 3])
            case "withdraw":
                play.withdraw(play.chain.watched[number % 2 :])
            case "drain" | "fund":
                play.change(step, play.chain.watched[number % 2])
            case "collect":
                play.collect()
        play.check()
    for winner in winners:
        play.zmart.claim(play.market, winner)
        play.check()
    play.withdraw()
    play.check()
    for key in play.chain.watched:
        play.change("fund", key)
    play.collect()
    play.check()
    assert play.zmart.owed(play.market) == (0, 0)
    assert play.chain.paid[play.resolver.pubkey()] == (rewards if has_winners else 0)
    rent = play.chain.svm.minimum_balance_for_rent_exemption(488)
    assert play.chain.lamports(play.market.key) - rent <= (len(play.users) if outcome is None else 0)
