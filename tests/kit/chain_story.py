"""Invented histories of the program: markets that follow its rules, as the transactions that a node would report.

The amounts come from the pricing models, so the fold of a story must be exact to the lamport.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass, field

import base58
import msgspec
from solders.pubkey import Pubkey

from zmart.chain.idl import load_idl
from zmart.chain.program import Program
from zmart.market import events as e
from zmart.market.pricing import FeeSchedule, Quantities, pricing_model

PROGRAM = Program(Pubkey.from_string("6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"), load_idl())
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
EVIDENCE = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"
MODEL = pricing_model("reference")
START = 1_762_772_000


def key(number: int) -> str:
    return str(Pubkey(number.to_bytes(32, "big")))


ADMIN, BACKEND = key(1), key(2)


@dataclass
class Tx:
    """A transaction: its signature, slot, index in the block, events, error and instructions (`calls`)."""

    signature: str
    slot: int
    index: int
    events: list
    err: object = None
    program: str = PROGRAM.address
    calls: list = field(default_factory=list)

    def raw(self, *, with_index: bool = True) -> bytes:
        keys = [key(99), self.program, *dict.fromkeys(str(a.pubkey) for c in self.calls for a in c.accounts)]
        instructions = [
            {
                "programIdIndex": 1,
                "accounts": [keys.index(str(a.pubkey)) for a in call.accounts],
                "data": base58.b58encode(bytes(call.data)).decode(),
                "stackHeight": None,
            }
            for call in self.calls
        ] or [{"programIdIndex": 1, "accounts": [], "data": "", "stackHeight": None}] * max(
            1, len(self.events)
        )
        logs = []
        for event in self.events:
            data = base64.b64encode(PROGRAM.events.encode(event)).decode()
            logs += [
                f"Program {self.program} invoke [1]",
                f"Program data: {data}",
                f"Program {self.program} success",
            ]
        for _ in instructions[len(self.events) :]:
            logs += [f"Program {self.program} invoke [1]", f"Program {self.program} success"]
        reported = {
            "slot": self.slot,
            "blockTime": START,
            "version": 0,
            "transaction": {
                "signatures": [self.signature],
                "message": {"accountKeys": keys, "instructions": instructions},
            },
            "meta": {"err": self.err, "logMessages": logs, "innerInstructions": []},
        }
        return msgspec.json.encode(reported | ({"indexWithinBlock": self.index} if with_index else {}))


class Story:
    """A random history of several markets whose transactions are interleaved; `txs` holds them in chain order."""

    def __init__(self, seed: int, markets: int = 3, trades: int = 12) -> None:
        self.random = random.Random(seed)
        self.slot, self.index, self.now = 1_000, 0, START
        self.fees = FeeSchedule(300, 200, 500)
        self.txs: list[Tx] = []
        self._initialize()
        lives = [self._life(number, trades) for number in range(markets)]
        while lives:
            life = self.random.choice(lives)
            if next(life, None) is None:
                lives.remove(life)
            if self.random.random() < 0.03:
                self._update_fees()

    def tell(self, *events, calls=(), err=None, program=PROGRAM.address) -> Tx:
        self.now += self.random.randint(1, 50)
        if self.random.random() < 0.6:
            self.slot += self.random.choice([1, 1, 2, 40])
            self.index = 0
        self.index += self.random.randint(1, 9)
        signature = base58.b58encode(self.random.randbytes(64)).decode()
        tx = Tx(signature, self.slot, self.index, list(events), err, program, list(calls))
        self.txs.append(tx)
        return tx

    def _initialize(self) -> None:
        self.tell(
            e.GlobalConfigInitialized(
                admin=ADMIN, backend_authority=BACKEND, protocol_fee_bps=300, timestamp=self.now
            )
        )

    def _update_fees(self) -> None:
        self.fees = FeeSchedule(*(self.random.randint(0, 500) for _ in range(3)))
        update = e.ConfigUpdated(
            protocol_fee_bps=self.fees.protocol_bps,
            resolver_reward_bps=self.fees.resolver_bps,
            liquidity_provider_fee_bps=self.fees.lp_bps,
            proposal_approval_threshold=7000,
            dispute_success_threshold=6000,
            min_resolution_delay=60,
            dispute_period=120,
            timestamp=self.now,
        )
        pause = e.ProtocolPauseStatusChanged(is_paused=False, paused_by=ADMIN, timestamp=self.now)
        self.tell(update, pause)

    def _life(self, number: int, trades: int):
        life = Life(self, number)
        yield life.create()
        for voter in range(3):
            yield life.vote(voter)
        if self.random.random() < 0.1:
            yield life.cancel()
            return
        yield life.approve()
        yield life.activate()
        for _ in range(trades):
            yield life.trade()
        yield from life.end()


class Life:
    """One market of a story. Its methods add the transactions of the market's life to the story."""

    def __init__(self, story: Story, number: int) -> None:
        self.story, self.random = story, story.random
        self.id = self.random.randbytes(32).hex()
        self.address = PROGRAM.addresses.market(self.id)
        self.creator = key(1000 + number)
        self.users = [key(self.random.randint(2_000, 2_006)) for _ in range(4)]
        self.b = self.random.choice([10_000_000, 5_000_000_000, 10**12])
        self.deposit = MODEL.min_deposit(self.b) + self.random.randint(0, 10**6)
        self.quantities = Quantities(0, 0, self.b)
        self.held: dict[tuple[str, bool], int] = {}
        self.pool, self.lp, self.reward = self.deposit, 0, 0

    def create(self) -> Tx:
        created = e.MarketCreated(
            market_id=self.id, creator=self.creator, b_parameter=self.b, state=0, timestamp=self.story.now
        )
        call = PROGRAM.instructions.create_market(
            self.creator,
            self.id,
            b_parameter=self.b,
            initial_liquidity=self.deposit,
            ipfs_question_hash=CID,
        )
        return self.story.tell(created, calls=[call])

    def vote(self, voter: int) -> Tx:
        return self.story.tell(
            e.ProposalVoteSubmitted(
                market_id=self.id, user=key(3_000 + voter), vote=voter != 1, timestamp=self.story.now
            )
        )

    def cancel(self) -> Tx:
        self.story.tell(e.MarketCancelled(market_id=self.id, cancelled_by=ADMIN, cancelled_at=self.story.now))
        return self.withdraw(self.pool)

    def approve(self) -> Tx:
        counted = e.ProposalAggregated(
            market_id=self.id,
            likes=7,
            dislikes=1,
            approval_percentage=87,
            approved=True,
            timestamp=self.story.now,
        )
        approved = e.ProposalApproved(market_id=self.id, approved_by=ADMIN, timestamp=self.story.now)
        return self.story.tell(counted, approved)

    def activate(self) -> Tx:
        return self.story.tell(
            e.MarketActivated(
                market_id=self.id,
                creator=self.creator,
                initial_liquidity=self.deposit,
                timestamp=self.story.now,
            )
        )

    def trade(self) -> Tx:
        number = self.random.choice([1, 1, 1, 2])
        return self.story.tell(*(self._sell() if self._sells() else self._buy() for _ in range(number)))

    def _sells(self) -> bool:
        return self.random.random() < 0.35 and any(shares > 50_000 for shares in self.held.values())

    def _buy(self):
        user, outcome = self.random.choice(self.users), self.random.random() < 0.6
        most = self.random.randint(10_000, max(20_000, self.b // 10))
        quote = MODEL.buy_total(self.quantities, self.story.fees, outcome, most)
        self.quantities = self.quantities.after(outcome, quote.shares)
        self.held[user, outcome] = self.held.get((user, outcome), 0) + quote.shares
        self._book(quote.cost, quote)
        return self._traded(e.SharesBought, user, outcome, quote.shares, cost=quote.total)

    def _sell(self):
        (user, outcome), held = self.random.choice([item for item in self.held.items() if item[1] > 50_000])
        shares = self.random.choice([held, self.random.randint(held // 2, held)])
        quote = MODEL.sell_total(self.quantities, self.story.fees, outcome, shares)
        self.quantities = self.quantities.after(outcome, -shares)
        self.held[user, outcome] = held - shares
        self._book(-quote.gross, quote)
        return self._traded(e.SharesSold, user, outcome, shares, proceeds=quote.net)

    def _book(self, into_pool: int, quote) -> None:
        self.pool += into_pool
        self.lp += quote.fees.lp
        self.reward += quote.fees.resolver

    def _traded(self, kind, user, outcome, shares, **money):
        price = MODEL.price_yes(self.quantities.q_yes, self.quantities.q_no, self.b)
        return kind(
            market_id=self.id,
            user=user,
            outcome=outcome,
            shares=shares,
            new_price_yes=price,
            timestamp=self.story.now,
            **money,
        )

    def end(self):
        proposed = self.random.random() < 0.5
        yield self.story.tell(
            e.MarketResolved(
                market_id=self.id,
                resolver=self.creator,
                outcome=proposed,
                evidence_hash=EVIDENCE,
                timestamp=self.story.now,
            )
        )
        outcome, disputed = proposed, self.random.random() < 0.5
        if disputed:
            yield from self.dispute(proposed)
            if self.random.random() < 0.2:
                yield self.story.tell(self._counted(succeeded=False))
                yield from self.settle(None)
                return
            outcome = not proposed
        final = e.MarketFinalized(
            market_id=self.id, final_outcome=outcome, was_disputed=disputed, timestamp=self.story.now
        )
        votes = (6, 2) if disputed else None
        yield self.story.tell(final, calls=[PROGRAM.instructions.finalize_market(BACKEND, self.id, votes)])
        yield from self.settle(outcome)

    def dispute(self, proposed: bool):
        yield self.story.tell(
            e.DisputeInitiated(
                market_id=self.id, initiator=key(4_000), disputed_outcome=proposed, timestamp=self.story.now
            )
        )
        for voter in range(2):
            yield self.story.tell(
                e.DisputeVoteSubmitted(
                    market_id=self.id, user=key(3_000 + voter), vote=True, timestamp=self.story.now
                )
            )

    def _counted(self, succeeded: bool):
        return e.DisputeAggregated(
            market_id=self.id,
            agrees=1,
            disagrees=3,
            agreement_percentage=25,
            dispute_succeeded=succeeded,
            timestamp=self.story.now,
        )

    def settle(self, outcome: bool | None):
        winners = {user: self._closed(user, outcome) for user in self.users}
        open_shares = sum(winners.values())
        if (outcome is not None and open_shares == 0) or outcome is None:
            self.lp, self.reward = self.lp + self.reward, 0
        for user in sorted(winners):
            if self.random.random() < 0.2:
                yield self.withdraw_free(outcome, open_shares)
            closed = winners[user]
            payout = closed if outcome is not None else closed // 2
            if payout:
                open_shares -= closed
                self.pool -= payout
                yield self.story.tell(
                    e.WinningsClaimed(
                        market=self.address,
                        user=user,
                        outcome=outcome,
                        amount=payout,
                        timestamp=self.story.now,
                    )
                )
        yield self.withdraw_free(outcome, open_shares)

    def _closed(self, user: str, outcome: bool | None) -> int:
        if outcome is None:
            return self.held.get((user, True), 0) + self.held.get((user, False), 0)
        return self.held.get((user, outcome), 0)

    def withdraw_free(self, outcome: bool | None, open_shares: int) -> Tx:
        reserved = open_shares if outcome is not None else (open_shares + 1) // 2
        free = self.pool - reserved + self.lp
        self.pool, self.lp = reserved, 0
        return self.withdraw(free) if free else self.story.tell(err={"InstructionError": [0, "x"]})

    def withdraw(self, amount: int) -> Tx:
        return self.story.tell(
            e.LiquidityWithdrawn(
                market_id=self.id, creator=self.creator, amount=amount, timestamp=self.story.now
            )
        )
