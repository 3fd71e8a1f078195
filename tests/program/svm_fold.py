"""Compare a market of the program with its Python fold: after every step both must have the same numbers."""

from __future__ import annotations

from collections import Counter

import msgspec
from msgspec.structs import replace
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from svm_chain import PROGRAM, Chain, Sent, Wallet
from svm_harness import Market, Zmart

from zmart.chain.accounts import AccountInfo, MarketAccount
from zmart.chain.idl import load_idl
from zmart.chain.program import Program
from zmart.market import events as e
from zmart.market.fold import Folded, FoldRules, fold
from zmart.market.fold_config import ConfigHistory
from zmart.market.fold_state import MarketFold
from zmart.market.types import Address, Lamports, Signature, Slot

CODE = Program(PROGRAM, load_idl(None))
SAME = ("current_liquidity", "shares_yes", "shares_no", "total_volume", "final_outcome",
        "accumulated_protocol_fees", "accumulated_resolver_fees", "accumulated_lp_fees")  # fmt: skip


def _as_cut(instruction: Instruction, event: e.ChainEvent) -> e.ChainEvent:
    """Return the event as zmart knows it when a node has truncated the log.

    Trades and withdrawals become Unlogged events, with the instruction's arguments. Other events stay as they are.
    """
    call, body = CODE.instructions.decode(bytes(instruction.data)), event.event
    if not isinstance(body, e.SharesBought | e.SharesSold | e.LiquidityWithdrawn):
        return event
    lost = e.Unlogged(
        instruction=msgspec.convert(call.name, e.UnloggedInstruction),
        market_id=body.market_id,
        user=body.creator if isinstance(body, e.LiquidityWithdrawn) else body.user,
        arguments=msgspec.convert(call.args, dict[str, bool | int | None]),
        timestamp=body.timestamp,
    )
    return replace(event, event=lost)


class WatchedChain(Chain):
    """A chain that keeps the program's events, those of whole logs and those of truncated logs.

    It also sums up the lamports that the `watched` wallets got in transactions.
    """

    def __init__(self) -> None:
        self.told: list[e.ChainEvent] = []
        self.cut: list[e.ChainEvent] = []
        self.watched: list[Pubkey] = []
        self.paid: Counter[Pubkey] = Counter()
        super().__init__()

    def send(self, *instructions: Instruction, signers: list[Wallet] | None = None) -> Sent:
        before = {key: self.lamports(key) for key in self.watched}
        sent = super().send(*instructions, signers=signers)
        for key, lamports in before.items():
            self.paid[key] += self.lamports(key) - lamports
        for instruction, raw in zip(instructions, sent.raw_events, strict=True):
            body, slot = CODE.events.decode(raw), Slot(len(self.told) + 1)
            event = e.ChainEvent(
                signature=Signature(str(slot)), ordinal=0, slot=slot, index_in_block=0, event=body
            )
            self.told.append(event)
            self.cut.append(_as_cut(instruction, event))
        return sent


class FoldedMarket:
    """One market of a WatchedChain with its fold. `check` folds the events since the last check."""

    def __init__(self, zmart: Zmart, chain: WatchedChain, market: Market) -> None:
        self._zmart, self._chain, self._key = zmart, chain, market
        self.rules = FoldRules.of("reference", ConfigHistory(chain.told[:1]), CODE.addresses.market)
        self._folded, self._cut, self._through = Folded(), Folded(), 1

    @property
    def market(self) -> MarketFold:
        assert self._folded.market is not None
        return self._folded.market

    @property
    def free(self) -> int:
        """The lamports that a withdrawal by the creator would take now."""
        return self.rules.books.free(self.market)

    def held(self, user: Keypair, outcome: bool) -> int:
        position = self._folded.positions.get(str(user.pubkey()))
        return 0 if position is None else position.shares(outcome)

    def check(self) -> MarketAccount:
        """Assert that the lamports, the account and the folds of whole and of truncated logs agree exactly.

        Returns the market's account.
        """
        self._zmart.books_hold(self._key)
        start, self._through = self._through, len(self._chain.told)
        for folded, events in ((self._folded, self._chain.told), (self._cut, self._chain.cut)):
            fold(folded, [self._with_deposit(event) for event in events[start:]], self.rules)
        assert (self._cut.market, self._cut.positions) == (self._folded.market, self._folded.positions)
        account, market = self._account(), self.market
        assert {name: getattr(account, name) for name in SAME} == {n: getattr(market, n) for n in SAME}
        notes = account.notes
        assert (notes.claimed_shares, account.state) == (market.claimed_shares, market.state)
        assert (notes.owed_resolver, notes.owed_protocol) == self._zmart.owed(self._key)
        return account

    def _account(self) -> MarketAccount:
        key = self._key.key
        lamports, data = Lamports(self._chain.lamports(key)), self._chain.data(key)
        info = AccountInfo(
            address=Address(str(key)), owner=Address(str(PROGRAM)), lamports=lamports, data=data
        )
        return CODE.accounts.market(info)

    def _with_deposit(self, event: e.ChainEvent) -> e.ChainEvent:
        if not isinstance(event.event, e.MarketCreated):
            return event
        return replace(event, event=replace(event.event, initial_liquidity=Lamports(self._key.deposit)))
