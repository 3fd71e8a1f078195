"""Tests of transactions that the gateway builds: they are signed, land on a local chain, and are indexed."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import token_hex

import httpx
import msgspec
import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from kit.chain_life import CID
from kit.gateway import OPERATOR, Site, site
from kit.rpc_proxy import Call, Edit, Fault, Proxy
from kit.services import running_service
from kit.transactions_v1 import signed_v1
from kit.votes import closing, vote_signed
from kit.waiting import until
from zmart.chain import compose
from zmart.ipfs.cid import cid_of
from zmart.local.chain.genesis import fund, send
from zmart.market.types import Bps, Lamports, MarketId, VoteKind, Wallet
from zmart.services.indexer.audit import audit
from zmart.services.indexer.service import Indexer
from zmart.settings import Settings
from zmart.store import index_progress, intents, vote_closings
from zmart.store.tallies import TallyRow
from zmart.votes.tallying import take_tally

SOL = 10**9
B = 20 * SOL
HOUR = 3_600
_IN_LAMPORTS = re.compile(r'<dt>([^<]*)</dt>\s*<dd title="(\d+) lamports"')


class Stage:
    """A gateway and an indexer on the local chain, with wallets that are signed in."""

    def __init__(self, here: Site, chain: object) -> None:
        self.here = here
        self.chain = chain
        self.rpc = here.gateway.context.chain()
        self.build = here.gateway.context.program.instructions
        self.tokens: dict[str, str] = {}

    async def user(self) -> Keypair:
        key = Keypair()
        await fund(self.rpc, Wallet(str(key.pubkey())), Lamports(100 * SOL))
        self.tokens[str(key.pubkey())] = await self.here.sign_in(key)
        return key

    async def ask(self, key: Keypair, path: str, body: object = None) -> httpx.Response:
        return await self.here.post(path, body, self.tokens[str(key.pubkey())])

    async def transact(self, key: Keypair, path: str, body: object = None) -> dict:
        """Request a transaction, sign it, send it and wait until it landed; return the answer that contained it."""
        answer = await self.ask(key, path, body)
        assert answer.status_code in (200, 201), answer.text
        built = answer.json()
        assert built["simulation"]["ok"], built["simulation"]
        assert built["signers"] == [str(key.pubkey())]
        await self.relay(key, built["transaction"])
        return built

    async def relay(self, key: Keypair, text: str) -> str:
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(text))
        signed = base64.b64encode(bytes(VersionedTransaction(unsigned.message, [key]))).decode()
        sent = await self.here.post("/api/transactions", {"transaction": signed})
        assert sent.status_code == 202, sent.text
        signature = sent.json()["signature"]
        await self.until(
            lambda: self.here.get(f"/api/transactions/{signature}"), lambda b: b["status"] == "landed"
        )
        return signature

    async def until(
        self, look: Callable[[], Awaitable[httpx.Response]], wanted: Callable[[dict], bool]
    ) -> dict:
        """Repeat a request until its status is 200 and its body is `wanted`; return the body."""

        async def body() -> dict | None:
            answer = await look()
            return answer.json() if answer.status_code == 200 else None

        result = await until(body, lambda body: body is not None and wanted(body))
        assert result is not None
        return result

    async def state(self, market: str, wanted: str) -> dict:
        return await self.until(
            lambda: self.here.get(f"/api/markets/{market}"), lambda body: body["state"] == wanted
        )

    async def create(self, creator: Keypair, **changes: object) -> dict:
        body = {
            "question": "Will the harbour be frozen in February?",
            "category": "Weather",
            "tags": ["ice", "Harbour", "ice"],
            "end_date": ((await self.now()) + timedelta(days=30)).isoformat(),
            "b_parameter": B,
            "initial_liquidity": 15 * SOL,
            **changes,
        }
        return await self.transact(creator, "/api/markets", body)

    async def indexed(self) -> None:
        """Wait until the index is complete through a minute ago at the latest: an approval needs a complete index."""
        clock = await self.rpc.get_clock()
        pool = self.here.gateway.context.pool
        await until(
            lambda: index_progress.read(pool),
            lambda progress: progress.gap_free_through_time >= clock.unix_timestamp - 60,
        )

    async def active(self, creator: Keypair) -> str:
        market = (await self.create(creator))["id"]
        await self.state(market, "PROPOSED")
        await self.vote(market, likes=1)
        await self.tally(market)
        await self.indexed()
        answer = await self.here.post(f"/api/markets/{market}/approve", token=OPERATOR)
        assert answer.json()["status"] == "landed", answer.text
        await self.transact(creator, f"/api/markets/{market}/activate")
        await self.state(market, "ACTIVE")
        return market

    async def count(self, market: str, likes: int, dislikes: int) -> None:
        backend = self.chain.keys.backend
        count = self.build.aggregate_proposal_votes(
            Wallet(str(backend.pubkey())), MarketId(market), likes, dislikes
        )
        await send(self.rpc, [count], [backend])

    async def vote(self, market: str, likes: int, dislikes: int = 0) -> None:
        """Cast signed votes of new wallets."""
        pool, program = self.here.pool, self.here.gateway.context.program.address
        for n in range(likes + dislikes):
            await vote_signed(
                pool, MarketId(market), Keypair(), n < likes, at=datetime.now(UTC), program=program
            )

    async def tally(self, market: str) -> TallyRow:
        """Count the votes and record the counts on chain, as an aggregator does. The count is as of a minute ago, for
        which the index is complete."""
        closed_at = (await self.rpc.get_clock()).unix_timestamp - 60
        program = self.here.gateway.context.program.address
        async with self.here.pool.transaction() as connection:
            row = await take_tally(
                connection, program, closing(MarketId(market), VoteKind.PROPOSAL, closed_at), Bps(7_000)
            )
        await self.count(market, row.tally.votes_for, row.tally.votes_against)
        return row

    async def finalize(self, market: str, agree: int, disagree: int) -> None:
        backend = self.chain.keys.backend
        ended = self.build.finalize_market(Wallet(str(backend.pubkey())), MarketId(market), (agree, disagree))
        await send(self.rpc, [ended], [backend])

    async def travel(self, seconds: int) -> None:
        clock = await self.rpc.get_clock()
        target = (clock.unix_timestamp + seconds) * 1000
        await self.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target}])

    async def now(self) -> datetime:
        """Return the chain's time, which may be days ahead of this machine's."""
        return datetime.fromtimestamp((await self.rpc.get_clock()).unix_timestamp, UTC)

    async def later(self) -> None:
        """Wait until the chain's clock is two seconds further: a second small jump would move its slots backwards."""
        before = (await self.rpc.get_clock()).unix_timestamp
        await until(self.rpc.get_clock, lambda clock: clock.unix_timestamp > before + 1)


@pytest.fixture
async def stage(local_chain: object, database_url: str, redis_url: str) -> AsyncIterator[Stage]:
    values = {
        "zmart_env": "local",
        "solana_rpc_url": local_chain.rpc_url,
        "solana_ws_url": local_chain.ws_url,
        "admin_keypair_path": local_chain.keys.path("admin"),
        "backend_keypair_path": local_chain.keys.path("backend"),
        "indexer_scan_interval_s": 0.2,
    }
    settings = Settings(_env_file=None, database_url=database_url, **values)
    async with (
        running_service(await Indexer.open(settings)),
        site(database_url, redis_url, with_rules=False, **values) as here,
    ):
        stage = Stage(here, local_chain)
        async with running_service(here.gateway.context.relay):
            yield stage


async def test_a_draft_is_its_creators_alone_until_the_chain_has_it(stage: Stage) -> None:
    creator, stranger = await stage.user(), await stage.user()
    body = {
        "question": "Will this draft ever be sent?", "end_date": "2100-01-01", "b_parameter": B,
        "initial_liquidity": 15 * SOL,
    }  # fmt: skip
    answer = await stage.ask(creator, "/api/markets", body)
    assert answer.status_code == 201
    made = answer.json()
    assert len(made["cid"]) == 46
    path = f"/api/markets/{made['id']}"
    mine = {"authorization": f"Bearer {stage.tokens[str(creator.pubkey())]}"}
    theirs = {"authorization": f"Bearer {stage.tokens[str(stranger.pubkey())]}"}
    assert (await stage.here.get(path)).status_code == 404
    assert (await stage.here.get(path, headers=theirs)).status_code == 404
    displayed = await stage.here.get(path, headers=mine)
    assert displayed.json()["state"] == "DRAFT"
    assert displayed.json()["b_parameter"] == B
    assert "no-store" in displayed.headers["cache-control"]
    listed = await stage.here.get("/api/markets?state=DRAFT", headers=mine)
    assert [row["id"] for row in listed.json()["markets"]] == [made["id"]]
    await stage.relay(creator, made["transaction"])
    row = await stage.state(made["id"], "PROPOSED")
    assert row["question_cid"] == made["cid"]
    assert row["on_chain_address"] == made["on_chain_address"]
    assert (await stage.here.get(f"/api/markets/{made['on_chain_address']}")).json()["id"] == made["id"]
    raw = await stage.here.pool.fetchval("SELECT document FROM market_documents")
    assert cid_of(raw, 0) == made["cid"]


async def test_the_operator_approves_and_cancels_and_nobody_else(stage: Stage) -> None:
    creator = await stage.user()
    market = (await stage.create(creator))["id"]
    post = stage.here.post
    assert (await post(f"/api/markets/{market}/cancel")).status_code == 401
    assert (await stage.ask(creator, f"/api/markets/{market}/cancel")).status_code == 403
    await stage.here.gateway.context.pool.execute("UPDATE index_progress SET gap_free_through_time = 0")
    waiting = await post(f"/api/markets/{market}/approve", token=OPERATOR)
    if waiting.status_code != 409:  # unless the indexer was quicker
        assert waiting.status_code == 503
        assert "The index is complete through slot" in waiting.json()["message"]
        assert int(waiting.headers["retry-after"]) > 0
    await stage.indexed()
    refused = await post(f"/api/markets/{market}/approve", token=OPERATOR)
    assert refused.status_code == 409
    assert "No votes are recorded" in refused.json()["message"]
    answer = await post(f"/api/markets/{market}/cancel", token=OPERATOR)
    assert (answer.status_code, answer.json()["status"]) == (200, "landed"), answer.text
    await stage.state(market, "CANCELLED")
    assert (await post(f"/api/markets/{market}/cancel", token=OPERATOR)).status_code == 409


async def test_an_operator_approves_for_the_votes_and_never_against_them(
    stage: Stage, database_url: str, redis_url: str, local_chain: object
) -> None:
    """The program would accept the counts that it recorded. Votes since then contradict them, and voting goes on."""
    market = (await stage.create(await stage.user()))["id"]
    await stage.state(market, "PROPOSED")
    path, pool = f"/api/markets/{market}/approve", stage.here.pool
    await stage.count(market, 1, 0)
    await stage.indexed()

    async def refused(here: Site, reason: str) -> None:
        answer = await here.post(path, token=OPERATOR)
        assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
        assert reason in answer.json()["message"]

    await refused(stage.here, "records 1 for and 0 against, which the aggregator has not counted")
    await stage.vote(market, likes=7, dislikes=3)
    await stage.tally(market)
    await stage.count(market, 9, 0)
    await refused(stage.here, "records 9 for and 0 against, and the newest count is 7 for and 3 against")
    await stage.count(market, 7, 3)
    await stage.vote(market, likes=0, dislikes=90)
    await refused(stage.here, "with now 7 for and 93 against they do not approve this market")
    async with site(database_url, redis_url, with_rules=False, solana_rpc_url=local_chain.rpc_url) as keyless:
        await refused(keyless, "with now 7 for and 93 against they do not approve this market")
    assert await vote_closings.find(pool, MarketId(market), VoteKind.PROPOSAL) is None
    assert await intents.recent(pool, 10) == []
    await stage.tally(market)
    await refused(stage.here, "do not approve this market: the newest count is 7 for and 93 against")


async def test_an_approval_by_the_operator_closes_the_vote_and_one_that_the_admin_is_to_sign_does_not(
    stage: Stage, database_url: str, redis_url: str, local_chain: object
) -> None:
    """Whether the admin signs is not known, so voting goes on until the chain shows that he did."""
    market = (await stage.create(await stage.user()))["id"]
    await stage.state(market, "PROPOSED")
    await stage.vote(market, likes=7, dislikes=3)
    row = await stage.tally(market)
    await stage.vote(market, likes=2)
    await stage.indexed()
    path, pool = f"/api/markets/{market}/approve", stage.here.pool
    async with site(database_url, redis_url, with_rules=False, solana_rpc_url=local_chain.rpc_url) as keyless:
        answer = (await keyless.post(path, token=OPERATOR)).json()
    assert (answer["sent"], answer["status"]) == (False, "unsigned")
    assert await vote_closings.find(pool, MarketId(market), VoteKind.PROPOSAL) is None
    answer = (await stage.here.post(path, token=OPERATOR)).json()
    assert answer["status"] == "landed"
    closed = await vote_closings.find(pool, MarketId(market), VoteKind.PROPOSAL)
    assert closed is not None
    assert (closed.closed_at, closed.log_size, closed.voting_over) == (row.closed_at, 10, True)
    await stage.state(market, "APPROVED")


async def test_without_the_admins_key_the_operator_gets_a_transaction_to_sign(
    stage: Stage, database_url: str, redis_url: str, local_chain: object
) -> None:
    market = (await stage.create(await stage.user()))["id"]
    async with site(database_url, redis_url, with_rules=False, solana_rpc_url=local_chain.rpc_url) as keyless:
        answer = (await keyless.post(f"/api/markets/{market}/cancel", token=OPERATOR)).json()
        assert (answer["sent"], answer["status"]) == (False, "unsigned")
        assert answer["signers"] == [str(local_chain.keys.admin.pubkey())]
        await stage.relay(local_chain.keys.admin, answer["transaction"])
    await stage.state(market, "CANCELLED")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question", "Too short"),
        ("question", "x" * 201),
        ("description", "x" * 2001),
        ("end_date", "2020-01-01"),
        ("end_date", "tomorrow"),
        ("b_parameter", 1000),
        ("b_parameter", -5),
        ("initial_liquidity", 1),
        ("tags", ["x"] * 11),
        ("category", ""),
    ],
)
async def test_a_wrong_field_of_a_new_market_is_named(database_url: str, field: str, value: object) -> None:
    body = {
        "question": "Will this ever be accepted?", "end_date": "2100-01-01T00:00:00Z", "b_parameter": B,
        "initial_liquidity": 15 * SOL, field: value,
    }  # fmt: skip
    async with site(database_url) as here:
        answer = await here.post("/api/markets", body)
        assert answer.status_code == 400
        assert field in str(answer.json()["details"])


async def test_a_market_ends_after_it_was_created_by_the_clock_of_its_chain(stage: Stage) -> None:
    """P20: on a chain that is days ahead, an end date between this machine's time and the chain's is in the past."""
    creator = await stage.user()
    await stage.travel(50 * HOUR)
    body = {
        "question": "Will it end before it begins?", "end_date": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "b_parameter": B, "initial_liquidity": 15 * SOL,
    }  # fmt: skip

    async def refusal() -> str | None:
        answer = await stage.ask(creator, "/api/markets", body)
        return answer.json()["details"][0]["message"] if answer.status_code == 400 else None

    refused = await until(refusal, lambda sentence: sentence is not None)  # the clock is kept for two seconds
    assert refused.startswith("end_date must lie in the future. The chain's clock is ahead: it shows 20")
    made = await stage.create(creator, end_date=(await stage.now() + timedelta(days=1)).isoformat())
    row = await stage.state(made["id"], "PROPOSED")
    assert row["created_at"] < row["ends_at"]


async def test_trades_that_cannot_be_are_told_apart(stage: Stage) -> None:
    creator, user = await stage.user(), await stage.user()
    proposed = (await stage.create(creator))["id"]
    await stage.state(proposed, "PROPOSED")
    buy = {"market_id": proposed, "outcome": True, "max_cost": SOL}
    assert (await stage.ask(user, "/api/trades/buy", buy)).status_code == 409
    market = await stage.active(creator)
    buy["market_id"] = market
    assert (await stage.ask(user, "/api/trades/buy", {**buy, "max_cost": 9_999})).status_code == 400
    assert (await stage.ask(user, "/api/trades/buy", {**buy, "shares": 1_000 * SOL})).status_code == 409
    sale = {"market_id": market, "outcome": True, "shares": 5}
    refused = await stage.ask(user, "/api/trades/sell", sale)
    assert (refused.status_code, refused.json()["message"]) == (
        409,
        "You hold 0 YES shares: 0.000000005 cannot be sold.",
    )
    poor = Keypair()
    stage.tokens[str(poor.pubkey())] = await stage.here.sign_in(poor)
    reported = (await stage.ask(poor, "/api/trades/buy", buy)).json()
    assert reported["simulation"]["ok"] is False
    assert "SOL" in reported["simulation"]["error"]["message"]
    assert reported["transaction"]
    unknown = {**buy, "market_id": "ab" * 32}
    assert (await stage.ask(user, "/api/trades/buy", unknown)).status_code == 404


def knows_no_new_blockhash(call: Call) -> Fault | None:
    """Simulate like a node that is some blocks behind the one that gave the blockhash."""
    if call.method != "simulateTransaction" or call.params[1].get("replaceRecentBlockhash"):
        return None
    refused = {"err": "BlockhashNotFound", "logs": [], "unitsConsumed": 0}
    return Edit(lambda result: {**result, "value": {**result["value"], **refused}})


async def test_a_node_that_does_not_know_the_newest_blockhash_yet_simulates_all_the_same(
    local_chain: object, database_url: str, redis_url: str
) -> None:
    """One RPC may be many nodes: the simulation is refused by one that lags, while the transaction is good."""
    async with (
        Proxy.before(local_chain.rpc_url) as proxy,
        site(database_url, redis_url, with_rules=False, solana_rpc_url=proxy.url) as here,
    ):
        stage = Stage(here, local_chain)
        user = await stage.user()
        proxy.script = knows_no_new_blockhash
        built = await stage.create(user)
        assert built["simulation"]["units"] > 0


async def test_only_signed_transactions_of_the_program_are_relayed(stage: Stage) -> None:
    user = await stage.user()
    blockhash = (await stage.rpc.get_latest_blockhash()).blockhash

    async def relayed(transaction: VersionedTransaction | bytes) -> httpx.Response:
        text = base64.b64encode(bytes(transaction)).decode()
        return await stage.here.post("/api/transactions", {"transaction": text})

    not_ours = compose.compile(user.pubkey(), [compose.memo("hello")], blockhash)
    assert "does not call" in (await relayed(compose.sign(not_ours, [user]))).json()["message"]
    vote = stage.build.submit_proposal_vote(Wallet(str(user.pubkey())), MarketId("cd" * 32), True)
    message = compose.compile(user.pubkey(), [vote], blockhash)
    assert "not signed" in (await relayed(compose.unsigned(message))).json()["message"]
    refused = await relayed(compose.sign(message, [user]))
    assert refused.status_code == 409, refused.text
    for rubbish in (
        b"",
        b"\0",
        b"\x80",
        b"\x81",
        b"\xff",
        b"rubbish",
        bytes(1_232),
        b"\x81" * 4_096,
        bytes(9_999),
    ):
        assert (await relayed(rubbish)).status_code == 400, rubbish[:9]
    assert (await stage.here.post("/api/transactions", {"transaction": "%%"})).status_code == 400
    unknown = str(user.sign_message(b"never sent"))
    # On a busy machine the answer is 503 if the look-up takes longer than the API allows.
    answered = await until(
        lambda: stage.here.get(f"/api/transactions/{unknown}"), lambda answer: answer.status_code != 503
    )
    assert answered.status_code == 404


async def test_a_transaction_of_version_1_has_room_for_4096_bytes(stage: Stage) -> None:
    """I3: a transaction of version 1 with 4,096 bytes is relayed and lands.

    A transaction with more bytes than its version allows is refused with 400.
    """
    user = await stage.user()
    blockhash = (await stage.rpc.get_latest_blockhash()).blockhash
    call = stage.build.create_market(
        Wallet(str(user.pubkey())), MarketId(token_hex(32)), b_parameter=B, initial_liquidity=15 * SOL,
        ipfs_question_hash=CID,
    )  # fmt: skip

    async def relayed(raw: bytes) -> httpx.Response:
        return await stage.here.post("/api/transactions", {"transaction": base64.b64encode(raw).decode()})

    def noted(memos: int, last: int) -> bytes:
        notes = [compose.memo("a" * 500)] * memos
        return signed_v1(user, [call, *notes, compose.memo("a" * last)], blockhash)

    full = 500 - (len(noted(7, 500)) - 4_096)
    assert len(noted(7, full)) == 4_096
    refused = await relayed(noted(7, full + 1))
    assert (refused.status_code, "4097 bytes" in refused.json()["message"]) == (400, True)
    assert (await relayed(noted(7, full) + b"x")).status_code == 400
    sent = await relayed(noted(7, full))
    assert sent.status_code == 202, sent.text
    await stage.until(
        lambda: stage.here.get(f"/api/transactions/{sent.json()['signature']}"),
        lambda body: body["status"] == "landed",
    )
    vote = stage.build.submit_proposal_vote(Wallet(str(user.pubkey())), MarketId("cd" * 32), True)
    doomed = signed_v1(user, [vote, *[compose.memo("a" * 500)] * 4], blockhash)
    assert (await relayed(doomed)).status_code == 409
    message = MessageV0.try_compile(
        user.pubkey(), [vote, *[compose.memo("a" * 500)] * 2], [], Hash.from_string(blockhash)
    )
    old = bytes(VersionedTransaction(message, [user]))
    assert 1_232 < len(old) < 4_096
    assert (await relayed(old)).status_code == 400


async def test_reads_go_on_and_builders_say_503_while_the_chain_is_away(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url, solana_rpc_url="http://127.0.0.1:9") as here:
        key = Keypair()
        token = await here.sign_in(key)
        assert (await here.get("/api/markets")).status_code == 200
        assert (await here.gateway.readiness()).ready
        answer = await here.post(
            "/api/trades/buy", {"market_id": "ab" * 32, "outcome": True, "max_cost": SOL}, token
        )
        assert answer.status_code == 503


async def test_a_markets_whole_life_through_the_api(stage: Stage) -> None:
    creator, winner, loser = [await stage.user() for _ in range(3)]
    market = await stage.active(creator)
    get = stage.here.get

    quoted = (await get(f"/api/markets/{market}/quote?outcome=YES&max_cost={5 * SOL}")).json()
    bought = await stage.transact(
        winner, "/api/trades/buy", {"market_id": market, "outcome": True, "max_cost": 5 * SOL}
    )
    assert bought["quote"] == quoted
    by_shares = {"market_id": market, "outcome": "NO", "shares": 2 * SOL}
    lost = await stage.transact(loser, "/api/trades/buy", by_shares)
    assert lost["quote"]["shares"] >= 2 * SOL
    sale = {"market_id": market, "outcome": True, "shares": quoted["shares"] // 4}
    sold = await stage.transact(winner, "/api/trades/sell", sale)
    tape = (await stage.until(lambda: get(f"/api/markets/{market}/trades"), lambda b: b["count"] == 3))[
        "trades"
    ]
    assert [row["cost"] for row in tape] == [
        bought["quote"]["total"], lost["quote"]["total"], sold["quote"]["net"],
    ]  # fmt: skip
    assert [row["shares"] for row in tape] == [
        bought["quote"]["shares"], lost["quote"]["shares"], sold["quote"]["shares"],
    ]  # fmt: skip
    assert tape[-1]["price_after"] == sold["quote"]["price_yes_after"]
    assert tape[0]["fees"] == quoted["fees"]["total"]

    resolution = {"outcome": False, "evidence": "The harbour master's log."}
    early = await stage.ask(winner, f"/api/markets/{market}/resolve", resolution)
    assert early.json()["simulation"]["error"]["name"] == "InvalidTimestamp"
    assert "too early" in early.json()["simulation"]["error"]["message"]
    await stage.travel(25 * HOUR)
    resolved = await stage.transact(loser, f"/api/markets/{market}/resolve", resolution)
    assert (await stage.state(market, "RESOLVING"))["evidence_cid"] == resolved["ipfs_evidence_hash"]
    await stage.later()
    await stage.transact(winner, f"/api/markets/{market}/dispute")
    assert (await stage.state(market, "DISPUTED"))["dispute_window"]["initiator"] == str(winner.pubkey())
    await stage.finalize(market, 3, 1)
    final = await stage.state(market, "FINALIZED")
    assert (final["final_outcome"], final["outcome"], final["was_disputed"]) == (True, "YES", True)

    held = quoted["shares"] - quoted["shares"] // 4
    claimed = await stage.transact(winner, "/api/trades/claim", {"market_id": market})
    assert claimed["payout"] == held
    nothing = (await stage.ask(loser, "/api/trades/claim", {"market_id": market})).json()
    assert (nothing["payout"], nothing["simulation"]["error"]["name"]) == (0, "NoWinnings")
    assert (await stage.ask(winner, "/api/trades/withdraw", {"market_id": market})).status_code == 403
    back = await stage.transact(creator, "/api/trades/withdraw", {"market_id": market})
    assert back["amount"] > 0
    await stage.until(lambda: get(f"/api/markets/{market}"), lambda b: b["current_liquidity"] == 0)
    names = [row["event"] for row in (await get(f"/api/markets/{market}/timeline")).json()["timeline"]]
    assert names == [
        "MarketCreated", "ProposalAggregated", "ProposalApproved", "MarketActivated", "MarketResolved",
        "DisputeInitiated", "MarketFinalized", "LiquidityWithdrawn",
    ]  # fmt: skip
    holders = (await get(f"/api/markets/{market}/holders")).json()
    assert {row["wallet"]: row["has_claimed"] for row in holders["holders"]} == {
        str(winner.pubkey()): True, str(loser.pubkey()): False,
    }  # fmt: skip
    stats = (await get(f"/api/users/{winner.pubkey()}/stats")).json()
    assert stats["realized_pnl"] == sold["quote"]["net"] + held - bought["quote"]["total"]
    assert stats["win_rate"] == (100.0 if stats["realized_pnl"] > 0 else 0.0)
    portfolio = (await get(f"/api/users/{winner.pubkey()}/portfolio")).json()
    assert portfolio["open_positions"] == []
    assert portfolio["realized_pnl"] == stats["realized_pnl"]


async def test_a_buy_that_another_got_ahead_of_is_refused_by_the_bound_it_was_built_with(
    stage: Stage,
) -> None:
    """A20: a built buy bounds its shares too, so it fails instead of buying at a worse price after another's trade."""
    creator, victim, attacker = [await stage.user() for _ in range(3)]
    market = await stage.active(creator)
    order = {"market_id": market, "outcome": True, "max_cost": 5 * SOL}
    built = (await stage.ask(victim, "/api/trades/buy", order)).json()
    assert built["quote"]["min_shares"] == built["quote"]["shares"] * 99 // 100
    await stage.transact(attacker, "/api/trades/buy", order)
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(built["transaction"]))
    answer = await stage.rpc.simulate(bytes(VersionedTransaction(unsigned.message, [victim])))
    assert not answer.ok
    error = stage.here.gateway.context.program.transaction_error(answer.err, answer.logs)
    assert error.name == "SlippageExceeded"
    requested = {**order, "min_shares": built["quote"]["min_shares"]}
    refused = (await stage.ask(victim, "/api/trades/buy", requested)).json()
    assert refused["simulation"]["error"]["name"] == "SlippageExceeded"
    second_result = await stage.transact(victim, "/api/trades/buy", {**order, "slippage_bps": 0})
    assert second_result["quote"]["min_shares"] == second_result["quote"]["shares"]


async def test_a_resolver_without_lamports_holds_up_no_claim_and_takes_its_reward_later(stage: Stage) -> None:
    """A19: a resolver's wallet without lamports blocks no claim and no withdrawal, and its reward waits for it.

    The index equals the accounts throughout.
    """
    creator, winner, resolver = [await stage.user() for _ in range(3)]
    market = await stage.active(creator)
    small = {"market_id": market, "outcome": True, "max_cost": SOL // 50}
    bought = await stage.transact(winner, "/api/trades/buy", small)
    await stage.travel(25 * HOUR)
    await stage.transact(resolver, f"/api/markets/{market}/resolve", {"outcome": True, "evidence": "Ice."})
    await stage.state(market, "RESOLVING")
    await stage.later()
    await stage.transact(winner, f"/api/markets/{market}/dispute")
    await stage.state(market, "DISPUTED")
    await stage.finalize(market, 1, 3)
    reward = (await stage.state(market, "FINALIZED"))["accumulated_fees"]["resolver"]
    who = Wallet(str(resolver.pubkey()))
    await stage.rpc.call("surfnet_setAccount", [who, {"lamports": 0}])
    claimed = await stage.transact(winner, "/api/trades/claim", {"market_id": market})
    assert (claimed["payout"], claimed["debts"]) == (bought["quote"]["shares"], [])
    back = await stage.transact(creator, "/api/trades/withdraw", {"market_id": market})
    assert back["debts"] == [{"wallet": who, "lamports": reward}]
    await fund(stage.rpc, who, Lamports(SOL))
    taken = await stage.transact(resolver, "/api/trades/withdraw", {"market_id": market})
    assert taken["amount"] == reward > 0
    assert await stage.rpc.get_balance(who) == SOL + reward - taken["fee_lamports"]
    assert (await stage.ask(resolver, "/api/trades/withdraw", {"market_id": market})).status_code == 403

    async def withdrawn() -> httpx.Response:
        return await stage.here.get(f"/api/markets/{market}/timeline")

    await stage.until(
        withdrawn, lambda b: [r["event"] for r in b["timeline"]].count("LiquidityWithdrawn") == 2
    )
    rooms = stage.here.gateway.context
    report = await audit(rooms.pool, stage.rpc, rooms.program)
    assert report.differences == []


async def test_the_page_of_a_trade_shows_the_fees_that_the_chain_charged(stage: Stage) -> None:
    """The fees of the network and of the program on a trade's page equal the changes of balances on chain."""
    creator, buyer = await stage.user(), await stage.user()
    market = MarketId(await stage.active(creator))
    who, fees = (Wallet(str(key.pubkey())) for key in (buyer, stage.chain.keys.fees))
    buy = stage.build.buy_shares(who, market, fees, outcome=True, target_cost=Lamports(2 * SOL))
    blockhash = (await stage.rpc.get_latest_blockhash()).blockhash
    unsigned = compose.unsigned(compose.compile(buyer.pubkey(), [buy], blockhash))
    signature = await stage.relay(buyer, base64.b64encode(bytes(unsigned)).decode())

    async def page() -> str:
        return (await stage.here.get(f"/transactions/{signature}")).text

    text = await until(page, lambda text: "Protocol fee" in text)
    chain = msgspec.json.decode(await stage.rpc.get_transaction_json(signature))
    meta, keys = chain["meta"], chain["transaction"]["message"]["accountKeys"]
    before, after = (dict(zip(keys, meta[name], strict=True)) for name in ("preBalances", "postBalances"))
    changes = {key: after[key] - before[key] for key in keys}
    rent = sum(after[key] for key in keys if before[key] == 0)
    assert (
        f'title="{meta["fee"]} lamports">{Decimal(meta["fee"]).scaleb(-9).normalize():f} SOL</span>' in text
    )
    shown = {name: int(lamports) for name, lamports in _IN_LAMPORTS.findall(text)}
    assert shown["Protocol fee"] == changes[fees] > 0
    assert shown["Cost"] == sum(change for change in changes.values() if change > 0) - rent
    assert -changes[who] == shown["Cost"] + meta["fee"] + rent
    trade = (await stage.here.get(f"/api/users/{who}/trades")).json()["trades"][0]
    assert (
        sum(shown[name] for name in ("Protocol fee", "Resolver&#39;s fee", "Fee for the pool"))
        == trade["fees"]
    )
