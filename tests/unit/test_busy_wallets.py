"""A1: what a wallet held before a vote opened is read in few calls, however many transactions it has had since."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import msgspec
import pytest

from kit.wallets import address
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo, SignatureStatus, Statuses
from zmart.chain.wallet_history import held_before
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.types import ChainTime, Lamports, Signature, Slot

WALLET = address(7)
OPENED = VoteOpening(ChainTime(1_000), Slot(500), Signature("opened"))
HELD = VoterFacts(held=Lamports(5))


@dataclass
class PrunedNode:
    """A node that keeps every block since slot 100: the vote opened in slot 500.

    Since slot `first` the wallet has had `per_slot` transactions in each of `slots` slots; before the first of them it
    held 5 lamports. Every `skips`-th slot has a block of others' transactions, none before slot `blocks_from`. Without
    `knows_others` a list may begin only at one of the wallet's own transactions.
    """

    per_slot: int
    slots: int = 1
    first: int = 501
    skips: int = 1
    first_block: int = 100
    blocks_from: int = 0
    knows_others: bool = True
    calls: int = 0

    async def check_lists(self, address: str) -> None:
        """It honours minContextSlot."""

    async def get_signatures_for_address(
        self, _address: str, *, before: str | None = None, limit: int = 1_000, **_: object
    ) -> list[SignatureInfo]:
        self.calls += 1
        newest = self._count_before(before) - 1
        return [self._info(n) for n in range(newest, max(newest - limit, -1), -1)]

    def _count_before(self, signature: str | None) -> int:
        if signature is None:
            return self.per_slot * self.slots
        if signature.startswith("own"):
            return int(signature[3:])
        if signature == OPENED.signature or not self.knows_others:
            return 0
        return max(0, min(self.slots, int(signature[5:]) - self.first)) * self.per_slot

    def _info(self, n: int) -> SignatureInfo:
        slot = self.first + n // self.per_slot
        return SignatureInfo(
            signature=Signature(f"own{n}"), slot=Slot(slot), err=None, block_time=ChainTime(500 + slot)
        )

    async def get_block_signatures(self, slot: int) -> list[Signature] | None:
        self.calls += 1
        if self.first <= slot < self.first + self.slots and self.blocks_from:
            return [Signature(f"block{slot}")]
        return (
            None
            if slot % self.skips or slot < self.blocks_from
            else [Signature(f"block{slot}"), Signature("another")]
        )

    async def get_signature_statuses(self, *_: object, **__: object) -> Statuses:
        return Statuses(Slot(99_999), [SignatureStatus(slot=OPENED.slot, err=None)])

    async def call(self, _method: str) -> int:  # getFirstAvailableBlock
        return self.first_block

    async def get_transaction_json(self, signature: str) -> bytes:
        self.calls += 1
        held = 5 if signature == "own0" else 10**9
        return msgspec.json.encode(
            {
                "transaction": {"message": {"accountKeys": [WALLET]}},
                "meta": {"preBalances": [held], "postBalances": [10**9]},
            }
        )


async def held(node: PrunedNode) -> VoterFacts:
    return await held_before(cast("Rpc", node), WALLET, OPENED)


@pytest.mark.parametrize(
    "node",
    [
        PrunedNode(19_999),
        PrunedNode(20_000),
        PrunedNode(20_001),
        PrunedNode(20_001, first=9_000_000),
        PrunedNode(2_000, 10, first=9_000_000),
        PrunedNode(100, 10_000),
        PrunedNode(1_500, 1_000, first=4_000_000),
        PrunedNode(1, 9_000_000),
        PrunedNode(1, 9_000_000, skips=7),
        PrunedNode(40, 200_000, first=510, skips=3),
        PrunedNode(60_000),
        PrunedNode(100, 10_000, first=5_000_000, blocks_from=5_000_000),
        PrunedNode(100, 10_000, first=501, blocks_from=9_000_000),
    ],
)
async def test_a_wallet_with_any_number_of_transactions_since_the_opening_is_judged(node: PrunedNode) -> None:
    """A wallet's transactions since the opening, at 5 lamports each, cannot keep a vote from being counted.

    The node does not keep all blocks, but all since the opening. The balance before the first transaction decides, as
    it does for a wallet with few.
    """
    assert await held(node) == HELD
    assert node.calls < 250


async def test_the_first_transaction_is_not_guessed_if_no_list_ends() -> None:
    """More transactions in one slot than are read: unknown, as nothing shows what the wallet held before them."""
    facts = await held(PrunedNode(2_000_000))
    assert (facts.held, "not found" in facts.why_unknown) == (None, True)


async def test_a_list_that_is_empty_proves_nothing_about_the_first_transaction() -> None:
    """A node that does not know a signature returns an empty list: nothing may follow from it but where to search."""
    facts = await held(PrunedNode(100, 10_000, knows_others=False))
    assert (facts.held, "not found" in facts.why_unknown) == (None, True)
    assert (
        await held(PrunedNode(15_000, 2, knows_others=False)) == HELD
    )  # its own transactions lead to the end


async def test_a_busy_wallet_is_unknown_to_a_node_that_does_not_reach_back_to_the_opening() -> None:
    facts = await held(PrunedNode(100, 10_000, first_block=501))
    assert (facts.held, "may not show older" in facts.why_unknown) == (None, True)


class BurstyNode(PrunedNode):
    """A node at which the wallet had `counts` transactions by slot; each `skips`-th slot has a block of others, too."""

    def __init__(self, counts: dict[int, int], skips: int) -> None:
        super().__init__(1, skips=skips)
        self.own_slots = sorted(counts)
        self.totals = list(accumulate((counts[slot] for slot in self.own_slots), initial=0))

    def _count_before(self, signature: str | None) -> int:
        if signature is None:
            return self.totals[-1]
        if signature.startswith("block"):
            return self.totals[bisect_left(self.own_slots, int(signature[5:]))]
        return super()._count_before(signature)

    def _info(self, n: int) -> SignatureInfo:
        slot = self.own_slots[bisect_right(self.totals, n) - 1]
        signature, time = Signature(f"own{n}"), ChainTime(500 + slot)
        return SignatureInfo(signature=signature, slot=Slot(slot), err=None, block_time=time)

    async def get_block_signatures(self, slot: int) -> list[Signature] | None:
        at = bisect_left(self.own_slots, slot)
        is_own = at < len(self.own_slots) and self.own_slots[at] == slot
        return [Signature(f"block{slot}")] if is_own else await super().get_block_signatures(slot)


@pytest.mark.parametrize("seed", range(30))
async def test_bursts_of_transactions_do_not_mislead_the_search(seed: int) -> None:
    """Also where blocks are far apart, as on a small cluster: an empty list or slot tells only where to search."""
    pick, counts = random.Random(seed), dict[int, int]()
    for _ in range(pick.randint(1, 6)):
        start, per_slot = (
            pick.randint(501, pick.choice([600, 10_000, 9_000_000])),
            pick.choice([1, 100, 3_000]),
        )
        for slot in range(start, start + pick.choice([1, 50, 3_000])):
            counts[slot] = counts.get(slot, 0) + per_slot
    assert await held(BurstyNode(counts, pick.choice([1, 3, 40, 1_000, 10**9]))) == HELD
