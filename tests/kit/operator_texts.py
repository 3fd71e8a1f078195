"""Helpers of the operator's drills about IPFS: pinned documents, and a market that was created without the API."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kit.operator import Operator
from kit.operator_index import asked
from kit.operator_outages import details_of
from kit.waiting import until
from zmart.ipfs.pinata import PinataClient
from zmart.local.chain.genesis import send
from zmart.local.demo.scenes_early import B_PARAMETER, INITIAL_LIQUIDITY_LAMPORTS
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld
from zmart.market.types import MarketId, Wallet
from zmart.proofs import market_document
from zmart.proofs.market_document import MarketDocument

_VERIFIED = "SELECT count(*) FROM ipfs_anchors WHERE market_id = $1 AND kind = $2 AND verified_at IS NOT NULL"


@dataclass(frozen=True)
class PinnedText:
    """A market's text that is pinned, before the market is on chain."""

    market_id: MarketId
    question: str
    cid: str


async def all_pinned(operator: Operator) -> None:
    """Wait until the snapshots service reports that every document is pinned and was read back."""
    port = operator.settings.snapshots_port
    await until(lambda: details_of(operator, port), lambda said: said.get("open") == 0, every_s=0.2)


async def is_pinned(operator: Operator, market_id: str, kind: str) -> bool:
    """Return whether a document of the market is pinned and was read back; `kind` as in `ipfs_anchors`."""
    return bool(await asked(operator, _VERIFIED, market_id, kind))


async def pinned_elsewhere(operator: Operator, creator: DemoUser) -> PinnedText:
    """Pin the text of a market as another front end would; return the text with its CID."""
    market_id = MarketId(secrets.token_hex(32))
    question = "Will a text that another front end pinned be read here?"
    text = MarketDocument(
        program=operator.settings.solana_program_id_core,
        market_id=market_id,
        creator=Wallet(creator.wallet),
        question=question,
        description="",
        category="demo",
        tags=[],
        ends_at=datetime.now(UTC) + timedelta(days=30),
        b_parameter=B_PARAMETER,
        initial_liquidity=INITIAL_LIQUIDITY_LAMPORTS,
    )
    async with PinataClient.from_settings(operator.settings) as pins:
        pinned = await pins.pin(market_document.compose(text), "elsewhere.json", cid_version=0)
    return PinnedText(market_id, question, pinned.cid)


async def propose_elsewhere(world: DemoWorld, creator: DemoUser, text: PinnedText) -> None:
    """Create the market of a pinned text on chain, without the API."""
    instruction = world.program.instructions.create_market(
        Wallet(creator.wallet),
        text.market_id,
        b_parameter=B_PARAMETER,
        initial_liquidity=INITIAL_LIQUIDITY_LAMPORTS,
        ipfs_question_hash=text.cid,
    )
    await send(world.rpc, [instruction], [creator.key])
