"""Whatever is traded, claimed and withdrawn while wallets cannot be paid: nobody waits for another's wallet, everybody
gets what they are owed in the end, and the Python fold says what the program did (case A19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import PROGRAM, SOL, Chain, Sent, Wallet, refused
from svm_harness import Zmart

from zmart.chain.accounts import AccountInfo
from zmart.chain.idl import load_idl
from zmart.chain.program import Program
from zmart.market import events as e
from zmart.market.fold import Folded, Rules, fold
from zmart.market.fold_config import ConfigHistory
from zmart.market.types import Address, Lamports, Signature, Slot

CODE = Program(PROGRAM, load_idl(None))
SAME = ("current_liquidity", "shares_yes", "shares_no", "total_volume", "final_outcome",
        "accumulated_protocol_fees", "accumulated_resolver_fees", "accumulated_lp_fees")  # fmt: skip
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


class WatchedChain(Chain):
    """Keeps what the program said, and what two wallets were paid in transactions."""

    def __init__(self) -> None:
        self.told: list[e.ChainEvent] = []
        self.watched: list[Pubkey] = []
        self.paid: Counter[Pubkey] = Counter()
        super().__init__()

    def send(self, *instructions: Instruction, signers: list[Wallet] | None = None) -> Sent:
        before = {key: self.lamports(key) for key in self.watched}
        sent = super().send(*instructions, signers=signers)
        for key, lamports in before.items():
            self.paid[key] += self.lamports(key) - lamports
        for raw in sent.raw_events:
            body, slot = CODE.events.decode(raw), Slot(len(self.told) + 1)
            self.told.append(
                e.ChainEvent(
                    signature=Signature(str(slot)), ordinal=0, slot=slot, index_in_block=0, event=body
                )
            )
        return sent


class Play:
    """One market, three users, a fee wallet and a resolver that start without lamports."""

    def __init__(self) -> None:
        self.chain, self.fee_wallet, self.resolver = WatchedChain(), Keypair(), Keypair()
        self.zmart = Zmart(self.chain, {"fee_wallet": self.fee_wallet})
        self.chain.watched = [self.fee_wallet.pubkey(), self.resolver.pubkey()]
        self.users = [self.chain.wallet() for _ in range(3)]
        self.rules = Rules.of("reference", ConfigHistory(self.chain.told[:1]), CODE.addresses.market)
        self.market = self.zmart.open(b=SOL)
        self.folded, self.folded_through = Folded(), 1

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
        position = self.folded.positions.get(str(self.users[user].pubkey()))
        return 0 if position is None else position.shares(outcome)

    def finish(self, outcome: bool | None) -> list[Keypair]:
        """The users with something to claim."""
        self.zmart.finish(self.market, self.resolver, outcome)
        self.check()
        if outcome is None:
            return [w for u, w in enumerate(self.users) if self.held(u, True) + self.held(u, False) > 1]
        return [wallet for user, wallet in enumerate(self.users) if self.held(user, outcome)]

    def collect(self) -> None:
        """Whoever is owed something and can be paid takes it; the rest try in vain or have no business here."""
        for wallet, owed in zip((self.resolver, self.fee_wallet), self.zmart.owed(self.market), strict=True):
            if owed and self.chain.lamports(wallet.pubkey()):
                assert self.zmart.withdraw(self.market, wallet).event["amount"] == owed
            elif not owed:
                with refused("Unauthorized"):
                    self.zmart.withdraw(self.market, wallet)

    def withdraw(self, also: Sequence[Pubkey] = ()) -> None:
        assert self.folded.market is not None
        free = self.rules.books.free(self.folded.market)
        if free:
            assert self.zmart.withdraw(self.market, also=also).event["amount"] == free

    def check(self) -> None:
        """Books, fold and what third parties got agree, to the lamport."""
        self.zmart.books_hold(self.market)
        new, self.folded_through = self.chain.told[self.folded_through :], len(self.chain.told)
        fold(self.folded, [self.with_deposit(event) for event in new], self.rules)
        market = self.folded.market
        assert market is not None
        key = self.market.key
        address, owner = Address(str(key)), Address(str(PROGRAM))
        lamports = Lamports(self.chain.lamports(key))
        info = AccountInfo(address=address, owner=owner, lamports=lamports, data=self.chain.data(key))
        account = CODE.accounts.market(info)
        assert {name: getattr(account, name) for name in SAME} == {n: getattr(market, n) for n in SAME}
        notes = account.notes
        assert (notes.claimed_shares, account.state) == (market.claimed_shares, market.state)
        assert (notes.owed_resolver, notes.owed_protocol) == self.zmart.owed(self.market)
        paid = self.chain.paid[self.fee_wallet.pubkey()]
        assert paid + notes.owed_protocol == account.accumulated_protocol_fees
        assert not notes.owed_protocol or notes.fee_wallet == str(self.fee_wallet.pubkey())

    def with_deposit(self, event: e.ChainEvent) -> e.ChainEvent:
        if not isinstance(event.event, e.MarketCreated):
            return event
        return replace(event, event=replace(event.event, initial_liquidity=Lamports(self.market.deposit)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(BEFORE, st.sampled_from([True, False, None]), AFTER)
def test_everybody_is_paid_what_they_are_owed_however_long_some_wallets_could_not_be(
    trades: list[tuple[str, int, bool, int]], outcome: bool | None, steps: list[str]
) -> None:
    """A19: trades, claims and withdrawals never fail for the sake of the fee wallet or the resolver."""
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
