"""Positions of transactions in their blocks, for a batch of more slots than are cached."""

from __future__ import annotations

from typing import cast

from kit.chain_story import Story
from zmart.chain.rpc import Rpc
from zmart.services.indexer import batch as batches
from zmart.services.indexer.batch import Transaction
from zmart.services.indexer.blocks import Blocks
from zmart.store.chain_events import Neighbour, TransactionRow

SLOTS = 5_000


class _Node:
    async def get_block_signatures(self, slot):
        return [f"first {slot}", f"second {slot}"]


async def test_what_was_just_read_is_there_however_many_slots_a_batch_has():
    event = Story(1, markets=1, trades=1).txs[0].events[0]
    transactions = [
        Transaction(
            row=TransactionRow(
                signature=f"second {slot}", slot=slot, index_in_block=None, failed=False, event_count=1
            ),
            events=[event],
        )
        for slot in range(SLOTS)
    ]
    neighbours = [Neighbour(slot, f"first {slot}", None) for slot in range(SLOTS)]
    blocks = Blocks(cast("Rpc", _Node()), batch_size=SLOTS)
    missing = batches.order(transactions, neighbours, blocks.positions).missing
    assert await blocks.read(missing) == {}
    order = batches.order(transactions, neighbours, blocks.positions)
    assert not order.missing
    assert order.positions["second 7"] == 1
    later = range(SLOTS, 3 * SLOTS)
    await blocks.read({slot: {f"first {slot}"} for slot in later})
    assert len(blocks.positions) == len(later)
