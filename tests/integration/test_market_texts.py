"""A10: tests that a market's text is the one with the hash on chain, and that a missing text is fetched by its CID."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from kit import http_servers, rows
from kit.gateway import (
    Site,
    add_position,
    add_trade,
    site,
)
from kit.services import running_service
from kit.waiting import until
from kit.wallets import address, market_id, wallet
from zmart.ipfs.cid import cid_of, parse_cid
from zmart.ipfs.multiformats import DAG_PB, Cid
from zmart.proofs import market_document
from zmart.proofs.canonical import canonical_json
from zmart.proofs.market_document import MarketDocument
from zmart.services.snapshots.documents import DocumentFetcher
from zmart.services.snapshots.service import SnapshotService
from zmart.settings import load_settings
from zmart.store import document_fetches, documents, live_state, market_work
from zmart.store.documents import Document
from zmart.store.pool import Pool

VICTIM, THIEF = address(1), address(2)
SECRET = "Will the victims secret zebra win"


def document(
    number: int = 1, creator: str = VICTIM, question: str = f"{SECRET}?", topic: str = "zebras"
) -> Document:
    text = MarketDocument(
        program="1" * 32,
        market_id=market_id(number),
        creator=creator,
        question=question,
        description=f"About {topic}.",
        category=topic,
        tags=[f"tag of {topic}"],
        ends_at=datetime.now(UTC) + timedelta(days=1),
        b_parameter=1,
        initial_liquidity=1,
    )
    raw = market_document.compose(text)
    fields = {
        name: getattr(text, name) for name in ("question", "description", "category", "tags", "ends_at")
    }
    values = {
        "market_id": market_id(number),
        "creator": creator,
        "cid": cid_of(raw, 0),
        "document": raw,
        "created_at": datetime.now(UTC),
    }
    return Document(**fields, **values)


async def chain_has(pool: Pool, number: int, creator: str, cid: str | None) -> str:
    """Add a market as the indexer writes it, and return its id."""
    market = rows.market_fold(
        market_id(number),
        address=address(1000 + number),
        creator=creator,
        question_cid=cid,
        created_at=datetime.now(UTC),
        activated_at=datetime.now(UTC),
    )
    await rows.add_markets(pool, [market])
    return market_id(number)


@pytest.fixture
async def here(database_url, redis_url):
    async with site(database_url, redis_url) as result:
        yield result


async def shown(here: Site, number: int = 1) -> dict:
    return (await here.get(f"/api/markets/{market_id(number)}")).json()


PLACES = {
    "list": "/api/markets",
    "in the category": "/api/markets?category=zebras",
    "by words": "/api/markets?q=zebra",
    "ending": "/api/markets?sort=ending",
    "trending list": "/api/markets?sort=trending",
    "one": f"/api/markets/{market_id(1)}",
    "search": "/api/search?q=zebra",
    "trending": "/api/markets/trending",
    "categories": "/api/markets/categories",
    "activity": "/api/markets/activity",
    "related": f"/api/markets/{market_id(2)}/related",
    "positions": f"/api/users/{address(3)}/positions",
    "portfolio": f"/api/users/{address(3)}/portfolio",
    "trades": f"/api/users/{address(3)}/trades",
    "first page": "/",
    "page": f"/markets/{market_id(1)}",
    "page of a wallet": f"/wallets/{address(3)}",
    "find": "/find?q=zebra",
}


async def test_a_draft_shows_nowhere_at_a_market_with_another_cid(here):
    """A10: a market with another CID than a draft's shows the draft's text in no list, page or feed.

    That holds for a market of another creator under the draft's id and for one of the draft's author.
    """
    draft = document()
    await documents.add(here.pool, draft, "none")
    other = document(2, THIEF, "Will anything else come to pass?", "things")
    await documents.add(here.pool, other, "none")
    key = await chain_has(here.pool, 1, THIEF, cid_of(b"other", 0))
    await chain_has(here.pool, 2, THIEF, other.cid)
    await add_position(here.pool, key, address(3), 1, 0, 5)
    await add_trade(here.pool, key, address(3), 1)
    for name, path in PLACES.items():
        answer = await here.get(path, follow_redirects=True)
        assert answer.status_code == 200, (name, answer.text)
        result = answer.text.lower()
        assert "secret zebra" not in result, name
        assert "tag of zebras" not in result, name
        assert "about zebras" not in result, name
        if "zebra" in path and path.startswith("/api"):
            assert market_id(1) not in result, name
    for creator in (THIEF, VICTIM):
        await here.pool.execute("UPDATE markets SET creator = $2 WHERE market_id = $1", key, creator)
        body = await shown(here)
        assert (body["question"], body["text_status"], body["creator"]) == ("", "not_available", creator)
        assert body["question_cid"] == cid_of(b"other", 0)
    assert "not available" in (await here.get(f"/markets/{key}")).text
    for state in (await live_state.market(here.pool, key), await live_state.markets(here.pool)):
        assert "zebra" not in (state.state or "")
    stuck = await market_work.stuck_markets(here.pool, int(datetime.now(UTC).timestamp()) + 2 * 86_400)
    assert key not in [each.market_id for each in stuck]


async def test_a_text_shows_by_its_hash_whoever_made_the_market(here):
    """A10: a market shows the text whose hash it has on chain, and its creator on chain, not that of the text."""
    draft = document()
    await documents.add(here.pool, draft, "none")
    await chain_has(here.pool, 1, THIEF, draft.cid)
    body = await shown(here)
    assert (body["question"], body["creator"], body["text_status"]) == (draft.question, THIEF, "available")


async def test_two_drafts_under_one_id_do_not_touch_each_other(here):
    """A10: two authors' drafts under one market id do not affect each other; the hash on chain picks one of them."""
    mine, theirs = document(), document(creator=THIEF, question="Will the thief be shown instead?")
    for draft in (mine, theirs):
        await documents.add(here.pool, draft, "none")
    for key, draft in ((wallet(1), mine), (wallet(2), theirs)):
        token = await here.sign_in(key)
        headers = {"authorization": f"Bearer {token}"}
        answer = (await here.get(f"/api/markets/{market_id(1)}", headers=headers)).json()
        assert (answer["state"], answer["question"]) == ("DRAFT", draft.question)
    await chain_has(here.pool, 1, THIEF, theirs.cid)
    assert (await shown(here))["question"] == theirs.question
    headers = {"authorization": f"Bearer {await here.sign_in(wallet(1))}"}
    listed = (await here.get("/api/markets?state=DRAFT", headers=headers)).json()["markets"]
    assert [row["question"] for row in listed] == [mine.question]
    assert await documents.drafts_with_question(here.pool, VICTIM, mine.question) == []


async def test_a_draft_written_after_its_market_counts_by_its_hash_too(here):
    """A10: a draft that is stored after its market shows if its hash matches, also in cached answers.

    The feed announces that the market changed.
    """
    for number, is_its_text in ((1, True), (2, False)):
        draft = document(number)
        await chain_has(here.pool, number, THIEF, draft.cid if is_its_text else cid_of(b"other", 0))
        assert (await shown(here, number))["text_status"] == "not_available"
        head = await here.pool.fetchval("SELECT head FROM feed_head")
        await documents.add(here.pool, draft, "none")
        assert (await shown(here, number))["question"] == (draft.question if is_its_text else "")
        rows = await here.pool.fetch('SELECT topic, op FROM change_feed WHERE "offset" > $1', head)
        assert [tuple(row) for row in rows] == ([("markets", "updated")] if is_its_text else [])


async def test_a_market_whose_cid_is_unknown_has_no_text(here):
    """A10: a market whose CID is unknown shows no text, and none is fetched for it."""
    await documents.add(here.pool, document(), "none")
    await chain_has(here.pool, 1, VICTIM, None)
    assert (await shown(here))["question"] == ""
    assert await document_fetches.waiting(here.pool) == 0


async def test_a_hosted_databases_public_role_reads_no_draft_under_a_taken_id(database_url, here):
    """A10: row-level security shows a public role only the texts and pins whose hash their market has on chain."""
    draft, other = document(), document(2, THIEF, "Will anything else come to pass?")
    for each in (draft, other):
        await documents.add(here.pool, each, "local")
    await here.pool.execute("UPDATE ipfs_anchors SET pinned_at = now()")
    await chain_has(here.pool, 1, THIEF, cid_of(b"other", 0))
    await chain_has(here.pool, 2, THIEF, other.cid)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "CREATE ROLE reader_of_texts; GRANT USAGE ON SCHEMA public TO reader_of_texts; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_of_texts; SET ROLE reader_of_texts"
        )
        for table in ("market_documents", "ipfs_anchors"):
            assert [row["cid"] for row in await connection.fetch(f"SELECT cid FROM {table}")] == [other.cid]
        assert await connection.fetch("SELECT * FROM document_fetches") == []
    finally:
        await connection.execute("RESET ROLE; DROP OWNED BY reader_of_texts; DROP ROLE reader_of_texts")
        await connection.close()


# -------------------------------------------------------------------------------------------------- fetched by CID


class Gateway:
    """An IPFS gateway that serves `files` by CID, answers `lie` if it is set, or is silent about other CIDs.

    `now` is the number of requests that wait for a silent answer, `most` the largest such number.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lie: tuple[int, bytes] | None = None
        self.silent = False
        self.now = self.most = 0
        self.asked: list[str] = []
        self.url = ""

    async def __call__(self, scope, receive, send) -> None:
        cid = scope["path"].rpartition("/")[2]
        self.asked.append(cid)
        if self.silent and cid not in self.files:
            await self._stay_silent(receive)
            return
        status, body = self.lie or ((200, self.files[cid]) if cid in self.files else (404, b"not found"))
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stay_silent(self, receive) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        while (await receive())["type"] != "http.disconnect":
            pass
        self.now -= 1


@pytest.fixture
async def ipfs():
    gateway = Gateway()
    async with http_servers.serving(gateway, timeout_graceful_shutdown=0) as gateway.url:
        yield gateway


def fetcher(pool: Pool, ipfs: Gateway, within_s: float = 15) -> DocumentFetcher:
    return DocumentFetcher(pool, ipfs.url, "local", within_s)


async def due_now(pool: Pool) -> None:
    await pool.execute("UPDATE document_fetches SET next_attempt_at = now()")


async def test_a_text_that_was_written_elsewhere_is_fetched_checked_shown_and_kept(here, ipfs):
    """A10: a text that was not written through this API is fetched by its CID, checked, shown and pinned.

    The CID may have version 0 or 1, and the text may name any market.
    """
    elsewhere = document(9, address(7), "Will a text from elsewhere be shown?")
    raw = elsewhere.document
    cids = [cid_of(raw, 0), cid_of(raw, 1), str(Cid(1, DAG_PB, parse_cid(cid_of(raw, 0)).digest))]
    for number, cid in enumerate(cids, 1):
        ipfs.files = {cid: raw}
        await here.pool.execute("DELETE FROM market_documents")
        await chain_has(here.pool, number, THIEF, cid)
        await fetcher(here.pool, ipfs).fetch_due()
        body = await shown(here, number)
        assert (body["question"], body["creator"], body["text_status"]) == (
            elsewhere.question,
            THIEF,
            "available",
        )
        assert body["category"] == "zebras"
    assert await document_fetches.waiting(here.pool) == 0
    pins = await here.pool.fetch("SELECT kind, cid, content FROM ipfs_anchors ORDER BY id")
    assert [tuple(pin) for pin in pins] == [("question", cid, raw) for cid in (cids[0], cids[1], cids[0])]
    assert await documents.drafts(here.pool, address(7), 10) == []


async def test_a_restart_asks_for_every_text_at_once_whatever_failed_before(here, ipfs, database_url):
    """C23: a restart requests every missing text at once, whatever failed before.

    A restored database may hold a text whose next attempt is hours away.
    """
    raw = document(3).document
    cid = cid_of(raw, 0)
    await chain_has(here.pool, 3, THIEF, cid)
    await fetcher(here.pool, ipfs).fetch_due()
    await here.pool.execute(
        "UPDATE document_fetches SET attempts = 30, next_attempt_at = now() + interval '6 hours'"
    )
    ipfs.files = {cid: raw}
    settings = load_settings(
        zmart_env="local", database_url=database_url, pinata_jwt="a-test-jwt", ipfs_gateway_url=ipfs.url
    )
    async with running_service(await SnapshotService.open(settings)):
        await until(lambda: document_fetches.waiting(here.pool), lambda waiting: waiting == 0)
    assert (await shown(here, 3))["text_status"] == "available"


async def test_a_text_for_two_markets_is_fetched_once(here, ipfs):
    """A10: a text that is already stored for one market is not fetched for a second market with the same CID."""
    draft = document()
    await documents.add(here.pool, draft, "none")
    for number, creator in ((1, VICTIM), (2, THIEF)):
        await chain_has(here.pool, number, creator, draft.cid)
    await fetcher(here.pool, ipfs).fetch_due()
    for number, creator in ((1, VICTIM), (2, THIEF)):
        body = await shown(here, number)
        assert (body["question"], body["creator"]) == (draft.question, creator)
    assert ipfs.asked == []
    assert (await here.get("/api/search?q=zebra")).json()["count"] == 2


NOT_DOCUMENTS = {
    "empty": b"",
    "page": b"<script>alert(1)</script>",
    "another document": b'{"type":"zmart-snapshot","version":1}',
    "stranger's json": json.dumps({"question": "Will a stranger's form be shown?"}).encode(),
    "nul": document(question="Will this one be stored or not?").document.replace(b"stored", b"st\\u0000red"),
    "nul in the name of a field": canonical_json({"type": "zmart-question", "version": 1, "\0": 1}),
}


async def test_what_is_no_market_document_is_called_so_and_never_asked_for_again(here, ipfs):
    """A10: bytes with the right hash that are no market document are called so, and never requested again.

    The same holds for a value on chain that is no CID.
    """
    ipfs.files = {cid_of(raw, 0): raw for raw in NOT_DOCUMENTS.values()}
    for number, cid in enumerate([*ipfs.files, "0x" + "00ff" * 23, ""], 1):
        await chain_has(here.pool, number, THIEF, cid)
    await fetcher(here.pool, ipfs).fetch_due()
    for number in range(1, len(ipfs.files) + 3):
        body = await shown(here, number)
        assert (body["question"], body["text_status"]) == ("", "not_a_market_document")
    assert "not a ZMART market document" in (await here.get(f"/markets/{market_id(1)}")).text
    assert await document_fetches.waiting(here.pool) == 0
    assert await here.pool.fetchval("SELECT count(*) FROM ipfs_anchors") == 0
    assert sorted(ipfs.asked) == sorted(ipfs.files)


async def test_an_unforeseen_failure_of_one_document_is_its_own_and_the_others_are_fetched(
    here, ipfs, monkeypatch
):
    """A10: the failure is stored with the document, which is requested again after its pause."""
    for number in (1, 2, 3):
        text = document(number)
        await chain_has(here.pool, number, THIEF, text.cid)
        ipfs.files[text.cid] = text.document
    add_fetched = documents.add_fetched

    async def fails_for_the_first(pool, fetched, *arguments):
        if fetched.market_id == market_id(1):
            raise RuntimeError("unforeseen: \0 \udc00")
        await add_fetched(pool, fetched, *arguments)

    monkeypatch.setattr(documents, "add_fetched", fails_for_the_first)
    assert await fetcher(here.pool, ipfs).fetch_due() == 3
    [left] = await here.pool.fetch("SELECT market_id, attempts, last_error FROM document_fetches")
    assert (left["market_id"], left["attempts"]) == (market_id(1), 1)
    assert left["last_error"].startswith("unforeseen: ")
    monkeypatch.undo()
    await due_now(here.pool)
    assert await fetcher(here.pool, ipfs).fetch_due() == 1
    assert await document_fetches.waiting(here.pool) == 0


LIES = [
    (404, b""),
    (502, b"<html>"),
    (200, document(5, THIEF, "Will the gateway be believed?").document),
    (200, b"gone"),
    (200, document().document[:-1]),
    (200, b"x" * (market_document.MAX_BYTES + 1)),
]


async def test_what_a_gateway_says_without_the_right_hash_decides_nothing(here, ipfs):
    """A10: an answer of a gateway without the right hash decides nothing: the text is requested again until it comes.

    The pauses grow, and any process may make the next request.
    """
    draft = document()
    await chain_has(here.pool, 1, VICTIM, draft.cid)
    pauses = []
    for attempt, lie in enumerate(LIES, 1):
        ipfs.lie = lie
        await due_now(here.pool)
        await fetcher(here.pool, ipfs).fetch_due()
        await fetcher(here.pool, ipfs).fetch_due()
        assert len(ipfs.asked) == attempt
        [row] = await here.pool.fetch(
            "SELECT attempts, last_error, extract(epoch FROM next_attempt_at - now())::float8 AS pause_s "
            "FROM document_fetches"
        )
        assert (row["attempts"], bool(row["last_error"])) == (attempt, True)
        pauses.append(row["pause_s"])
        assert (await shown(here))["text_status"] == "not_available"
    assert all(later > 1.2 * sooner for sooner, later in pairwise(pauses))
    ipfs.lie, ipfs.files = None, {draft.cid: draft.document}
    await due_now(here.pool)
    await fetcher(here.pool, ipfs).fetch_due()
    assert (await shown(here))["question"] == draft.question


async def test_a_gateway_that_never_answers_for_one_text_holds_up_no_other(here, ipfs):
    """A10: texts that a gateway never answers for take a bounded time and number of requests, and delay no other text.

    A text that was requested in vain never comes before a new text.
    """
    draft = document(200)
    ipfs.silent, ipfs.files = True, {draft.cid: draft.document}
    for number in range(1, 7):
        await chain_has(here.pool, number, THIEF, cid_of(b"never %d" % number, 0))
    patient = fetcher(here.pool, ipfs)
    async with looking(patient):
        await until(lambda: ipfs.now == 4)
    await until(lambda: ipfs.now == 0)
    await due_now(here.pool)
    async with looking(patient):  # two texts again, two for the first time
        await until(lambda: ipfs.now == 4)
    await until(lambda: ipfs.now == 0)
    await due_now(here.pool)
    async with looking(patient):
        await until(lambda: ipfs.now == 2)
        await chain_has(here.pool, 200, VICTIM, draft.cid)
        await patient.fetch_due()
        await until(lambda: shown(here, 200), lambda market: market.get("question") == draft.question)
    assert ipfs.most == 4
    await due_now(here.pool)
    await fetcher(here.pool, ipfs, within_s=0.2).fetch_due()
    errors = await here.pool.fetch("SELECT last_error FROM document_fetches")
    assert ["within 0.2 s" in row["last_error"] for row in errors] == [True] * 6


@asynccontextmanager
async def looking(patient: DocumentFetcher) -> AsyncIterator[None]:
    """Run three overlapping fetches of one process while the block runs; cancel them at its end."""
    looks = [asyncio.create_task(patient.fetch_due()) for _ in range(3)]
    yield
    for look in looks:
        look.cancel()
    await asyncio.gather(*looks, return_exceptions=True)


async def test_a_request_ends_with_its_market_and_follows_its_cid(here, ipfs):
    """A10: the request for a text ends with its market, and follows a change of the market's CID.

    A market may leave the chain, or return with another text.
    """
    draft = document()
    await chain_has(here.pool, 1, VICTIM, cid_of(b"first", 0))
    await chain_has(here.pool, 2, VICTIM, cid_of(b"first", 0))
    await here.pool.execute(
        "UPDATE markets SET question_cid = $2 WHERE market_id = $1", market_id(1), draft.cid
    )
    await here.pool.execute("DELETE FROM markets WHERE market_id = $1", market_id(2))
    ipfs.files = {draft.cid: draft.document}
    await fetcher(here.pool, ipfs).fetch_due()
    assert ipfs.asked == [draft.cid]
    assert (await shown(here))["question"] == draft.question
    assert await document_fetches.waiting(here.pool) == 0


async def test_many_fetchers_ask_for_each_text_once(here, ipfs):
    """A10: several fetchers that share the persistent queue request each text once."""
    result = [document(number, question=f"Will number {number} be fetched?") for number in range(1, 13)]
    ipfs.files = {each.cid: each.document for each in result}
    for number, each in enumerate(result, 1):
        await chain_has(here.pool, number, VICTIM, each.cid)
    await asyncio.gather(*(fetcher(here.pool, ipfs).fetch_due() for _ in range(4)))
    assert sorted(ipfs.asked) == sorted(ipfs.files)
    assert (await here.get("/api/search?q=fetched")).json()["count"] == 12
