"""Deliveries with any bytes: the worker goes on, and the index holds what the program emitted."""

from __future__ import annotations

import random

import msgspec
import pytest

from kit.chain_story import PROGRAM, Story, Tx, key
from kit.indexer import (
    deliver,
    engine_on,
    settle,
    tables,
)
from kit.story_node import serving
from kit.waiting import until
from zmart.market import events as e
from zmart.services.indexer.worker import BatchOutcome
from zmart.store import inbox, inbox_backlog
from zmart.store.inbox import Hint

STORY = Story(29, markets=2, trades=8)
ODD = [
    None,
    True,
    -1,
    2**63,
    2**70,
    1.5,
    "",
    "\0",
    "😀",
    "x" * 70,
    [],
    {},
    [[]],
    {"a": 1},
    "1" * 88,
]


def mangled(raw, chance):
    """Return a transaction with one JSON value replaced, with one byte replaced, or cut off."""
    if chance.random() < 0.2:
        position = chance.randrange(len(raw))
        return (
            raw[:position]
            if chance.random() < 0.5
            else raw[:position] + bytes([chance.randrange(256)]) + raw[position + 1 :]
        )
    value = node = msgspec.json.decode(raw)
    while True:
        at = chance.choice(sorted(node)) if isinstance(node, dict) else chance.randrange(len(node))
        if not isinstance(node[at], dict | list) or not node[at] or chance.random() < 0.3:
            node[at] = chance.choice(ODD)
            return msgspec.json.encode(value)
        node = node[at]


@pytest.mark.parametrize("seed", [1])
async def test_no_payload_stops_the_worker_or_puts_in_what_the_chain_does_not_have(
    database_url, new_database, migrated_template, seed
):
    other = new_database(migrated_template)
    async with serving(STORY) as node, engine_on(other, node.url) as engine:
        await deliver(engine, STORY.txs)
    chance = random.Random(seed)
    async with serving(STORY) as node, engine_on(database_url, node.url, indexer_batch_size=16) as engine:
        # Invented signatures with true transactions: a payload must contain the signature that it is stored under.
        strangers = [
            Hint(key(9_000 + n) + key(n + 1), 1_000 + n, mangled(chance.choice(STORY.txs).raw(), chance))
            for n in range(40)
        ]
        await inbox.store(engine.pool, "webhook", strangers)
        await deliver(engine, STORY.txs)

        async def worked():
            await engine.pool.execute("UPDATE inbox SET next_attempt_at = now() WHERE state = 'pending'")
            await settle(engine)
            return (
                await engine.worker.turn() is BatchOutcome.IDLE
                and not (await inbox_backlog.depth(engine.pool)).pending
            )

        await until(worked, within_s=60)
        left = await engine.pool.fetch("SELECT signature, state, last_error FROM inbox")
        assert {row["signature"] for row in left} == {hint.signature for hint in strangers}
        assert {(row["state"], bool(row["last_error"])) for row in left} == {("pending", True)}
        assert (await inbox_backlog.depth(engine.pool)).pending == 0, "they are hints that no node knows"
    assert await tables(database_url) == await tables(other)


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\xc3\x28", b'"', b"\\", b"{", b"\x7f\x00"])
async def test_any_46_bytes_that_a_caller_gives_as_hash_are_indexed(database_url, filler):
    """resolve_market and create_market accept any bytes as a hash: they must not stop a market's projection."""
    resolved = next(tx for tx in STORY.txs if any(isinstance(x, e.MarketResolved) for x in tx.events))
    [event] = resolved.events
    payload = bytearray(PROGRAM.events.encode(event))
    payload[8 + 32 + 32 + 1 : 8 + 32 + 32 + 1 + 46] = (filler * 46)[:46]
    odd = PROGRAM.events.decode(bytes(payload))
    changed = Tx(resolved.signature, resolved.slot, resolved.index, [odd])
    txs = [changed if tx is resolved else tx for tx in STORY.txs]
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        node.shown = txs
        await deliver(engine, txs)
        assert await engine.pool.fetch("SELECT last_error FROM inbox") == []
        assert await engine.pool.fetch("SELECT error FROM market_folds WHERE error IS NOT NULL") == []
        result = await engine.pool.fetchval(
            "SELECT evidence_cid FROM markets WHERE market_id = $1", event.market_id
        )
        assert result == odd.evidence_hash
        assert PROGRAM.events.encode(odd) == bytes(payload)
