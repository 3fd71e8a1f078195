"""Generate a long history of the program for benchmarks: open markets and their trades, one event a transaction."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import base58
import msgspec

from zmart.chain.program import Program
from zmart.market import events as e
from zmart.market.pricing import FeeSchedule, pricing_model
from zmart.market.types import (
    Bps,
    ChainTime,
    Lamports,
    MarketId,
    PriceE9,
    Shares,
    Signature,
    Slot,
    Wallet,
)
from zmart.store.inbox import Hint

START = 1_762_772_000
FEES = FeeSchedule(Bps(300), Bps(200), Bps(500))
A_SLOT_HOLDS = 40
_FIRST_SLOT = Slot(1_000)
MODEL = pricing_model("reference")
B = Shares(50_000_000_000)


class Load:
    """A generated history; `hints()` yields raw webhook deliveries in chain order.

    First come the events that open every market, then trades without end.
    """

    def __init__(
        self, program: Program, seed: int, markets: int, wallets: int, first_slot: Slot = _FIRST_SLOT
    ) -> None:
        self._first_slot = first_slot
        self._program = program
        self._random = random.Random(seed)  # the same load every time
        self._wallets = [Wallet(_key(self._random)) for _ in range(wallets)]
        self._ids = [MarketId(self._random.randbytes(32).hex()) for _ in range(markets)]
        self._shares = {market_id: [0, 0] for market_id in self._ids}
        self._count = 0

    @property
    def wallets(self) -> list[Wallet]:
        return self._wallets

    def hints(self) -> Iterator[Hint]:
        yield self._hint(
            e.GlobalConfigInitialized(
                admin=self._wallets[0],
                backend_authority=self._wallets[1],
                protocol_fee_bps=FEES.protocol_bps,
                timestamp=self._now(),
            )
        )
        for market_id in self._ids:
            for event in self._opening(market_id):
                yield self._hint(event)
        while True:
            yield self._hint(self._buy(self._random.choice(self._ids)))

    def _opening(self, market_id: MarketId) -> Iterator[e.AnyEvent]:
        creator, now = self._wallets[2], self._now()
        yield e.MarketCreated(market_id=market_id, creator=creator, b_parameter=B, state=0, timestamp=now)
        yield e.ProposalApproved(market_id=market_id, approved_by=creator, timestamp=now)
        yield e.MarketActivated(
            market_id=market_id, creator=creator, initial_liquidity=MODEL.min_deposit(B), timestamp=now
        )

    def _buy(self, market_id: MarketId) -> e.SharesBought:
        """Return a random purchase, mostly of the side with fewer shares, so that the price stays off its bounds."""
        held = self._shares[market_id]
        outcome = self._random.random() < (0.7 if held[0] < held[1] else 0.3)
        shares = Shares(self._random.randint(20_000, 2_000_000_000))
        before = MODEL.cost(Shares(held[0]), Shares(held[1]), B)
        held[0 if outcome else 1] += shares
        cost = MODEL.cost(Shares(held[0]), Shares(held[1]), B) - before
        return e.SharesBought(
            market_id=market_id,
            user=self._trader(),
            outcome=outcome,
            shares=shares,
            cost=Lamports(cost + FEES.split(Lamports(cost)).total),
            new_price_yes=PriceE9(500_000_000),
            timestamp=self._now(),
        )

    def _trader(self) -> Wallet:
        """Draw a wallet; some wallets are drawn far more often than most."""
        return self._wallets[int(len(self._wallets) * self._random.random() ** 4)]

    def _hint(self, event: e.AnyEvent) -> Hint:
        signature = Signature(base58.b58encode(self._random.randbytes(64)).decode())
        slot = Slot(self._first_slot + self._count // A_SLOT_HOLDS)
        raw = self._raw(signature, slot, self._count % A_SLOT_HOLDS, event)
        self._count += 1
        return Hint(signature, slot, raw)

    def _raw(self, signature: Signature, slot: Slot, index: int, event: e.AnyEvent) -> bytes:
        """Return a transaction as Helius delivers a purchase: compute budget, the program, its System program calls."""
        program, system = self._program.address, "1" * 32
        data = base64.b64encode(self._program.events.encode(event)).decode()
        logs = [
            "Program ComputeBudget111111111111111111111111111111 invoke [1]",
            "Program ComputeBudget111111111111111111111111111111 success",
            f"Program {program} invoke [1]",
            *(f"Program {system} invoke [2]", f"Program {system} success") * 2,
            f"Program data: {data}",
            f"Program {program} consumed 31337 of 200000 compute units",
            f"Program {program} success",
        ]
        keys = [
            self._wallets[3], *self._wallets[4:9], program, system,
            "ComputeBudget111111111111111111111111111111",
        ]  # fmt: skip
        transfer = {
            "programIdIndex": 7, "accounts": [0, 1], "data": "3Bxs4h24hBtQy9rw", "stackHeight": 2
        }  # fmt: skip
        transaction = {
            "slot": slot,
            "indexWithinBlock": index,
            "blockTime": START,
            "version": 0,
            "transaction": {
                "signatures": [signature],
                "message": {
                    "header": {
                        "numRequiredSignatures": 1, "numReadonlySignedAccounts": 0, "numReadonlyUnsignedAccounts": 4
                    },
                    "recentBlockhash": self._wallets[5],
                    "accountKeys": keys,
                    "instructions": [
                        {"programIdIndex": 8, "accounts": [], "data": "HnkkG7", "stackHeight": None},
                        {
                            "programIdIndex": 6,
                            "accounts": [1, 2, 3, 0, 4, 7],
                            "data": "2VJ5vyhTnCcB9Mcd5",
                            "stackHeight": None,
                        },
                    ],
                },
            },
            "meta": {
                "err": None,
                "fee": 5000,
                "computeUnitsConsumed": 31487,
                "preBalances": [10**9] * len(keys),
                "postBalances": [10**9 - 7] * len(keys),
                "logMessages": logs,
                "innerInstructions": [{"index": 1, "instructions": [transfer, transfer]}],
                "loadedAddresses": {"readonly": [], "writable": []},
            },
        }  # fmt: skip
        return msgspec.json.encode(transaction)

    def _now(self) -> ChainTime:
        return ChainTime(START + self._count)


def _key(random_: random.Random) -> str:
    return base58.b58encode(random_.randbytes(32)).decode()
