"""A10: tests of two attacks on a draft, through the API and the program on a local chain."""

# ruff: noqa: F811  # fixtures are imported by their names

from __future__ import annotations

import secrets

import httpx
from solders.keypair import Keypair
from test_gateway_chain import SOL, B, Stage, stage  # noqa: F401  # a fixture
from test_market_texts import Gateway, fetcher, ipfs  # noqa: F401  # a fixture

from zmart.ipfs.cid import cid_of
from zmart.local.chain.genesis import send
from zmart.market.types import MarketId, Wallet
from zmart.proofs import market_document

BODY = {
    "question": "Will the secret zebra win the cup?",
    "category": "zebras",
    "end_date": "2100-01-01",
    "b_parameter": B,
    "initial_liquidity": 15 * SOL,
}


async def draft_of(stage: Stage, author: Keypair) -> dict:
    answer = await stage.ask(author, "/api/markets", BODY)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def put_on_chain(stage: Stage, creator: Keypair, market_id: str, cid: str) -> dict:
    """Create a market without the API, as any user can, and return it once it is indexed."""
    instruction = stage.build.create_market(
        Wallet(str(creator.pubkey())),
        MarketId(market_id),
        b_parameter=B,
        initial_liquidity=15 * SOL,
        ipfs_question_hash=cid,
    )
    await send(stage.rpc, [instruction], [creator])
    return await stage.state(market_id, "PROPOSED")


async def fetched(stage: Stage, ipfs: Gateway, market_id: str) -> dict:
    """Fetch texts until this market's text is there, and return the market.

    The chain has other markets, whose texts are requested, too.
    """
    messages = fetcher(stage.here.pool, ipfs)

    async def look() -> httpx.Response:
        await messages.fetch_due()
        return await stage.here.get(f"/api/markets/{market_id}")

    return await stage.until(look, lambda body: body["text_status"] == "available")


async def test_a_market_with_another_cid_never_shows_the_drafts_text(stage: Stage) -> None:
    """A10, first attack: a market under the draft's id, but with another CID, never shows the draft's text."""
    author = await stage.user()
    draft = await draft_of(stage, author)
    other = cid_of(b"what really stands on chain", 0)
    body = await put_on_chain(stage, author, draft["id"], other)
    assert (body["question"], body["text_status"], body["question_cid"]) == ("", "not_available", other)
    for path in ("/", f"/markets/{draft['id']}", "/api/markets", "/api/search?q=cup"):
        assert "secret zebra" not in (await stage.here.get(path)).text


async def test_who_takes_a_drafts_id_shows_under_their_own_name_and_text(stage: Stage, ipfs: Gateway) -> None:
    """A10, second attack: another user creates a market under the draft's id.

    It shows under that user's name and text. The victim keeps the draft, and gets another id for it.
    """
    victim, thief = await stage.user(), await stage.user()
    draft = await draft_of(stage, victim)
    mine = {"authorization": f"Bearer {stage.tokens[str(victim.pubkey())]}"}
    raw = await stage.here.pool.fetchval("SELECT document FROM market_documents")
    theirs = market_document.read(raw)
    stolen = raw.replace(b"secret zebra", b"thieves' donkey")
    assert market_document.read(stolen).creator == theirs.creator
    body = await put_on_chain(stage, thief, draft["id"], cid_of(stolen, 0))
    assert (body["question"], body["creator"]) == ("", str(thief.pubkey()))
    ipfs.files = {cid_of(stolen, 0): stolen}
    body = await fetched(stage, ipfs, draft["id"])
    assert (body["question"], body["creator"]) == (
        "Will the thieves' donkey win the cup?",
        str(thief.pubkey()),
    )
    listed = (await stage.here.get("/api/markets?state=DRAFT", headers=mine)).json()["markets"]
    assert [row["question"] for row in listed] == [BODY["question"]]
    second_result = await draft_of(stage, victim)
    assert second_result["id"] != draft["id"]
    await stage.relay(victim, second_result["transaction"])
    body = await stage.state(second_result["id"], "PROPOSED")
    assert (body["question"], body["creator"]) == (BODY["question"], str(victim.pubkey()))


async def test_the_same_text_is_shown_at_each_market_that_has_its_cid_on_chain(
    stage: Stage, ipfs: Gateway
) -> None:
    """A10: every market with the text's CID on chain shows the text, under the draft's id or another.

    The text is right since its hash is; the creator is the one on chain.
    """
    author, other = await stage.user(), await stage.user()
    draft = await draft_of(stage, author)
    body = await put_on_chain(stage, other, draft["id"], draft["cid"])
    assert (body["question"], body["creator"]) == (BODY["question"], str(other.pubkey()))
    second = secrets.token_hex(32)
    await put_on_chain(stage, other, second, draft["cid"])
    body = await fetched(stage, ipfs, second)
    assert (body["question"], body["text_status"]) == (BODY["question"], "available")
    assert draft["cid"] not in ipfs.asked
