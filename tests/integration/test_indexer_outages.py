"""How long the indexer waits after an RPC that gives no usable answer, and after one that lacks what was requested."""

from __future__ import annotations

from typing import cast

import pytest

from kit.chain_story import Story
from kit.indexer import again, deliver, engine_on, settle
from kit.story_node import serving
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot
from zmart.services.indexer import late_finality
from zmart.store import inbox

STORY = Story(31, markets=2, trades=30)
OUTAGE, REFUSAL = TransientRpcError("The RPC did not answer."), ChainError("The RPC has no such method.")


@pytest.mark.parametrize(
    ("error", "most_s"), [(OUTAGE, inbox.UNAVAILABLE_PAUSE_S), (REFUSAL, inbox.MAX_PAUSE_S)]
)
async def test_what_needs_a_block_is_tried_again_soon_after_an_outage_however_long_it_was(
    database_url: str, monkeypatch: pytest.MonkeyPatch, error: ChainError, most_s: int
) -> None:
    async def refuse(*_: object) -> None:
        raise error

    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        monkeypatch.setattr(engine.rpc, "get_block_signatures", refuse)
        await deliver(engine, STORY.txs, with_index=False)
        for _ in range(12):
            await again(engine)
            await settle(engine)
        longest_s = await engine.pool.fetchval(
            "SELECT max(extract(epoch FROM next_attempt_at - now()))::float8 FROM inbox WHERE state = 'pending'"
        )
    assert most_s - 3 < longest_s <= most_s


@pytest.mark.parametrize(("error", "is_outage"), [(OUTAGE, True), (REFUSAL, False)])
async def test_a_proof_of_finality_that_no_rpc_gives_is_told_from_one_that_is_refused(
    error: ChainError, is_outage: bool
) -> None:
    class Node:
        async def get_signature_statuses(self, *_: object, **__: object) -> None:
            raise error

    name = Signature("5" * 64)
    doubt = (await late_finality.doubts(cast("Rpc", Node()), [(name, Slot(1))]))[name]
    assert doubt is not None
    assert doubt.is_outage is is_outage
    assert str(error) in doubt.reason
